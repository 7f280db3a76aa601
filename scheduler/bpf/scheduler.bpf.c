/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The scheduler's data plane. A frame for a virtual server is hashed by its client's address and port to a
 * bucket, and goes to the node that owns it: up the own stack, or back out of the same port with both MAC
 * addresses rewritten. Nothing above Ethernet changes. What isn't ours is passed on to the stack untouched.
 *
 * User space decides who gets a bucket and writes it as the bucket's `next` beforehand; this program only
 * follows it. On a node that doesn't schedule it gives the scheduler's frames a second chance, and schedules what
 * comes there past the scheduler. See README.md one folder up.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#ifdef DLBA_COVERAGE
#include "coverage.h"
#endif
#include "maps.h"
#include "headers.h"
#include "answers.h"
#include "second-chance.h"
#include "search.h"
#undef COVERAGE_FILE
#define COVERAGE_FILE 0

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline __u32 owner_of(__u32 word) {
  return word & 0xff;
}
static __always_inline __u32 next_of(__u32 word) {
  return word >> 8 & 0xff;
}
static __always_inline __u32 previous_of(__u32 word) {
  return word >> 16 & 0xff;
}

/*
 * Multilinear hashing of the client's address (Lemire and Kaser, "Strongly universal string hashing is fast", 2014)
 * under 64-bit keys: whoever doesn't know them can't find addresses that meet in a bucket. One multiplication for
 * IPv4. The mixing afterwards spreads neighbouring addresses, which form an arithmetic progression up to there.
 */
static __always_inline __u32 hash_address(const struct flow *flow) {
  __u64 hash = control.hash_key[1] * flow->client[0];
  if (flow->family == 4)
    hash += control.hash_key[0];
  else
    hash += control.hash_key[2] * flow->client[1] + control.hash_key[3] * flow->client[2] +
            control.hash_key[4] * flow->client[3] + control.hash_key[5];
  hash ^= hash >> 32;
  hash *= 0x9FB21C651E98DF25ULL;
  return hash >> 32;
}

/*
 * One client's ports are added, so no two of them meet in a bucket (of 65,536 or more; of fewer, each bucket gets as
 * many of them). Rotated by three bits, within the table's: ports that are even, or handed out in turn, fill eight
 * stretches of the table evenly.
 */
static __always_inline __u32 spread_port(__be16 client_port, __u32 mask) {
  __u32 port = bpf_ntohs(client_port);
  return ((port & mask) >> 3) + (port & 7) * ((mask + 1) >> 3);
}

static __always_inline __u32 bucket_of(const struct flow *flow, const struct vserver *vserver) {
  __u32 hash = hash_address(flow);
  if (!(vserver->flags & VSERVER_ADDRESS_ONLY))
    hash += spread_port(flow->client_port, vserver->table_mask);
  return vserver->table_base + (hash & vserver->table_mask);
}

/* What of a vserver is needed once the bucket is known: kept for later fragments, too. */
struct place {
  __u32 bucket;
  __u32 vserver_index;
  __u32 node_base;
  __u32 traffic_base;
};

static __always_inline struct node *living_node(__u32 row) {
  struct node *node = bpf_map_lookup_elem(&nodes, &row);
  if (!node || !(node->flags & NODE_UP))
    return 0;
  return node;
}

static __always_inline void tell(const struct place *place, __u32 owner, __u32 previous) {
  struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (!event) {
    count(REASON_EVENT_LOST);
    return;
  }
  event->bucket = place->bucket;
  event->owner = owner;
  event->previous = previous;
  event->vserver = place->vserver_index;
  bpf_ringbuf_submit(event, 0);
}

/*
 * The word of a bucket whose next has become its owner. Connections of a dead owner may live on (its kernel does): it
 * becomes the previous one, unless there is one already, who may have older connections. Nobody is his own previous.
 */
static __always_inline __u32 word_after(__u32 word) {
  __u32 owner = owner_of(word), next = next_of(word), previous = previous_of(word);
  if (previous == NODE_NOBODY)
    previous = owner;
  if (previous == next)
    previous = NODE_NOBODY;
  return (word & 0xff00ff00) | next | previous << 16;
}

/* Gives a bucket without a living owner to its next. Returns the node that has it now, or 0 for none. */
static __always_inline struct node *follow_next(struct bucket *bucket, const struct place *place, __u32 *word) {
  __u32 old = *word, next = next_of(old), owner = owner_of(old);
  struct node *node = living_node(place->node_base + next);
  if (!node)
    return 0;
  __u32 wanted = word_after(old);
  __u32 seen = __sync_val_compare_and_swap(&bucket->word, old, wanted);
  /* Another CPU, or user space, was faster: what it decided counts. */
  if (seen != old) {
    *word = seen;
    return living_node(place->node_base + owner_of(seen));
  }
  *word = wanted;
  count(owner == NODE_NOBODY ? REASON_CLAIMED : REASON_FOLLOWED);
  tell(place, next, owner);
  return node;
}

/* The node that a frame of this bucket goes to; 0 for none. Notes the access. */
static __always_inline struct node *node_of(struct bucket *bucket, const struct place *place, __u32 *word) {
  struct node *node = living_node(place->node_base + owner_of(*word));
  if (!node)
    node = follow_next(bucket, place, word);
  if (!node)
    return 0;
  __u32 now = access_time();
  /* At most one write a second: the cache line stays shared between the CPUs. */
  if (bucket->last_access != now)
    bucket->last_access = now;
  return node;
}

static __always_inline void count_traffic(struct xdp_md *ctx, __u32 row, int is_connection) {
  __u32 entry = row / TRAFFIC_SLOTS;
  struct traffic_rows *rows = bpf_map_lookup_elem(&traffic, &entry);
  if (!rows)
    return;
  struct traffic *sum = &rows->rows[row % TRAFFIC_SLOTS];
  sum->packets++;
  sum->bytes += bpf_xdp_get_buff_len(ctx);
  sum->connections += is_connection;
}

static __always_inline int give_to(struct xdp_md *ctx, struct ethernet *eth, const struct node *node,
                                   __u32 traffic_base, int is_connection) {
  count_traffic(ctx, traffic_base + node->slot, is_connection);
  if (node->flags & NODE_SELF)
    return XDP_PASS;
  return send_to(eth, node);
}

/*
 * To the node that had the bucket before, and has the frame's connection or may have it: its second chance, unless this is
 * that node. While others may have it, too, that one is asked.
 */
static __noinline int hand_on(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow, __u32 row,
                              __u32 traffic_base) {
  struct node *node = bpf_map_lookup_elem(&nodes, &row);
  if (!node) /* never: for the verifier */
    return XDP_PASS;
  if (!(node->flags & NODE_SELF))
    count(REASON_SECOND_CHANCE);
  int verdict = give_to(ctx, eth, node, traffic_base, 0);
  if (verdict == XDP_TX && is_searching() && !flow->fragment)
    set_type(ctx, flow, bpf_htons(ETHERTYPE_SEARCH), 0);
  return verdict;
}

static __always_inline void set_fragment_key(struct fragment_key *key, const struct flow *flow) {
  __builtin_memcpy(key->source, flow->client, sizeof(key->source));
  __builtin_memcpy(key->destination, flow->vip, sizeof(key->destination));
  key->id = flow->fragment_id;
  /* IPv6 reassembles by addresses and identification alone (RFC 8200 4.5). */
  key->protocol = flow->family == 4 ? flow->protocol : 6 << 8;
}

/* Notes for the later fragments where the first one went. */
static __noinline void remember(const struct flow *flow, const struct place *place, __u32 handed_on_to) {
  struct fragment_key key = {};
  set_fragment_key(&key, flow);
  struct fragment value = {
      .bucket = place->bucket,
      .vserver_index = place->vserver_index,
      .node_base = place->node_base,
      .traffic_base = place->traffic_base,
      .handed_on_to = handed_on_to,
  };
  bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

static __always_inline int is_vip(const struct flow *flow) {
  struct vip_key key = {.family = flow->family};
  __builtin_memcpy(key.address, flow->vip, sizeof(key.address));
  return bpf_map_lookup_elem(&vips, &key) != 0;
}

/*
 * A later fragment that came before its first one waits in user space, which sends it on when that has come. Other
 * protocols' fragments are not scheduled, so their first ones are not remembered.
 */
static __noinline int hold(struct xdp_md *ctx, const struct flow *flow) {
  if (!is_vip(flow))
    return pass(REASON_NO_VSERVER);
  if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP && !is_extension(flow->protocol))
    return pass(REASON_OTHER_PROTOCOL);
  __u32 length = bpf_xdp_get_buff_len(ctx);
  if (length > HELD_FRAME_BYTES)
    return pass(REASON_FRAGMENT_UNKNOWN);
  struct held *record = bpf_ringbuf_reserve(&held, sizeof(*record), 0);
  if (!record)
    return pass(REASON_FRAGMENT_UNKNOWN);
  set_fragment_key(&record->key, flow);
  record->ifindex = ctx->ingress_ifindex;
  record->length = length;
  if (!length || bpf_xdp_load_bytes(ctx, 0, record->frame, length)) { /* never: for the verifier */
    bpf_ringbuf_discard(record, 0);
    return pass(REASON_FRAGMENT_UNKNOWN);
  }
  bpf_ringbuf_submit(record, 0);
  return drop(REASON_FRAGMENT_HELD);
}

/*
 * A host with an old ARP entry sends to this node, which has no table yet. The own stack would reset connections that are
 * other nodes'; without an answer the host asks for the address again.
 */
static __always_inline int is_standby(const struct flow *flow) {
  return flow->is_stray && !control.has_table;
}

/* A later fragment has no ports: it goes where its first one went. */
static __always_inline int take_later_fragment(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow) {
  struct fragment_key key = {};
  set_fragment_key(&key, flow);
  struct fragment *first = bpf_map_lookup_elem(&fragments, &key);
  if (flow->is_handed_on || flow->is_asked || flow->is_not_here)
    return pass(REASON_FROM_MEMBER);
  if (first && first->handed_on_to != NO_ROW)
    return hand_on(ctx, eth, flow, first->handed_on_to, first->traffic_base);
  if (flow->is_given)
    return pass(REASON_FROM_SCHEDULER);
  if (is_standby(flow))
    return is_vip(flow) ? drop(REASON_STANDBY) : pass(REASON_NO_VSERVER);
  if (!first)
    return hold(ctx, flow);
  struct place place = {first->bucket, first->vserver_index, first->node_base, first->traffic_base};
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &place.bucket);
  if (!bucket)
    return pass(REASON_NO_VSERVER);
  __u32 word = *(volatile __u32 *)&bucket->word;
  struct node *node = node_of(bucket, &place, &word);
  if (!node)
    return drop(REASON_NO_NODE);
  count(REASON_LATER_FRAGMENT);
  return give_to(ctx, eth, node, place.traffic_base, 0);
}

/* An error goes to the flow's owner. It tells of the past: it neither claims a bucket nor keeps one from idling. */
static __always_inline struct node *owner_for_error(const struct place *place, __u32 word) {
  return living_node(place->node_base + owner_of(word));
}

/* The row of the node that may have the frame's connection when it is to go on to it, NO_ROW when it stays here. */
static __always_inline __u32 second_chance(struct xdp_md *ctx, const struct flow *flow, const struct vserver *vserver,
                                           __u32 number) {
  if (number == NODE_NOBODY || vserver->flags & VSERVER_DIRECT)
    return NO_ROW;
  __u32 row = vserver->node_base + number;
  return needs_second_chance(ctx, flow, row) ? row : NO_ROW;
}

/*
 * This node's row when the frame of another one's bucket stays here, as its connection is here from before the bucket moved
 * away; else NO_ROW. The owner would hand it back at best: when it schedules, it passes up what a member sends, and resets
 * the connection. Asked for buckets whose previous node this is, and for stray frames of any: a node that was the
 * scheduler of its side before a partition healed may have another table by now than its clients' frames belong to.
 */
static __always_inline __u32 kept_here(struct xdp_md *ctx, const struct flow *flow, const struct vserver *vserver) {
  if (vserver->flags & VSERVER_DIRECT || !may_be_older(flow))
    return NO_ROW;
  return has_connection(ctx, flow) ? vserver->node_base + control.number : NO_ROW;
}

/*
 * Who may have connections of a bucket beside this node, which was given a frame of it: its previous node. When that is this
 * node itself, the bucket is just moving away, maybe back to who had it before: then its owner.
 */
static __always_inline __u32 other_holder_of(__u32 word) {
  if (previous_of(word) == control.number)
    return owner_of(word);
  return previous_of(word);
}

/* The bucket's owner gets the frame, or the node that had the bucket before. */
static __always_inline int schedule(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow,
                                    const struct vserver *vserver, struct bucket *bucket, const struct place *place) {
  __u32 word = *(volatile __u32 *)&bucket->word;
  struct node *node;
  if (flow->is_icmp_error) {
    node = owner_for_error(place, word);
    if (!node)
      return pass(REASON_ICMP_UNOWNED);
    count(REASON_ICMP_ERROR);
  } else {
    node = node_of(bucket, place, &word);
    if (!node)
      return drop(REASON_NO_NODE);
  }
  __u32 row = NO_ROW;
  if (node->flags & NODE_SELF)
    row = second_chance(ctx, flow, vserver, previous_of(word));
  else if (flow->is_stray || previous_of(word) == control.number)
    row = kept_here(ctx, flow, vserver);
  if (flow->fragment) {
    remember(flow, place, row);
    count(REASON_FIRST_FRAGMENT);
  }
  if (row != NO_ROW)
    return hand_on(ctx, eth, flow, row, place->traffic_base);
  int verdict = give_to(ctx, eth, node, place->traffic_base, is_syn(flow));
  return verdict == XDP_PASS ? search(ctx, flow, vserver, other_holder_of(word)) : verdict;
}

/* Whether the node in this row has sent the frame. */
static __always_inline int is_sender(const struct ethernet *eth, __u32 row) {
  const struct node *node = bpf_map_lookup_elem(&nodes, &row);
  return node && is_same_mac(eth->from, node->mac);
}

/*
 * A frame that the scheduler gave to this node, or that another one has handed on, stays here, or goes on to another one that
 * had the bucket: never back to who has looked at it already, as the former scheduler has.
 */
static __always_inline int receive(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow,
                                   const struct vserver *vserver, struct bucket *bucket, const struct place *place) {
  __u32 word = *(volatile __u32 *)&bucket->word;
  __u32 first = other_holder_of(word);
  __u32 row = second_chance(ctx, flow, vserver, first);
  if (row != NO_ROW && (flow->is_returned || flow->is_handed_on) && is_sender(eth, row))
    row = NO_ROW;
  if (flow->fragment)
    remember(flow, place, row);
  if (row == NO_ROW) {
    int verdict = search(ctx, flow, vserver, first);
    if (verdict != XDP_PASS)
      return verdict;
    return pass(flow->is_handed_on ? REASON_FROM_MEMBER : REASON_FROM_SCHEDULER);
  }
  return hand_on(ctx, eth, flow, row, place->traffic_base);
}

/* The later fragments of a packet to a VIP's other ports go up, too, instead of waiting for their first one. */
static __noinline int pass_unknown(const struct flow *flow) {
  if (flow->fragment && is_vip(flow)) {
    struct place nowhere = {.bucket = NO_ROW};
    remember(flow, &nowhere, NO_ROW);
  }
  return pass(REASON_NO_VSERVER);
}

static __always_inline struct vserver *find_vserver(const struct flow *flow) {
  if (flow->family == 4) {
    /* As one word: the look-up would wait for halves that were stored apart. */
    __u64 key = flow->vip[0] | (__u64)flow->vip_port << 32 | (__u64)flow->protocol << 48;
    return bpf_map_lookup_elem(&vservers, &key);
  }
  struct vserver6_key key = {.port = flow->vip_port, .protocol = flow->protocol};
  __builtin_memcpy(key.address, flow->vip, sizeof(key.address));
  return bpf_map_lookup_elem(&vservers6, &key);
}

static __always_inline int take_flow(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow) {
  struct vserver *vserver = find_vserver(flow);
  if (!vserver)
    return pass_unknown(flow);
  if (is_standby(flow))
    return drop(REASON_STANDBY);
  if (flow->is_asked)
    return answer_search(ctx, eth, flow, vserver);
  struct place place = {bucket_of(flow, vserver), vserver->index, vserver->node_base, vserver->traffic_base};
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &place.bucket);
  if (!bucket) /* never: for the verifier */
    return pass(REASON_NO_VSERVER);
  if (flow->is_not_here)
    return search_on(ctx, eth, flow, vserver, other_holder_of(*(volatile __u32 *)&bucket->word));
  if (flow->is_given || flow->is_handed_on)
    return receive(ctx, eth, flow, vserver, bucket, &place);
  return schedule(ctx, eth, flow, vserver, bucket, &place);
}

/* Jumbo frames come in several buffers: `frags`. */
SEC("xdp.frags")
int scheduler(struct xdp_md *ctx) {
  void *end = (void *)(long)ctx->data_end;
  struct ethernet *eth = (void *)(long)ctx->data;
  if ((void *)(eth + 1) > end) /* never: for the verifier */
    return pass(REASON_TRUNCATED);
  __be16 type = eth->type;
  void *header = eth + 1;
  if (type == bpf_htons(ETHERTYPE_HEARTBEAT))
    return take_heartbeat(eth, header, end);
#pragma unroll
  for (int i = 0; i < MAX_VLAN_TAGS && (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)); i++) {
    struct vlan *vlan = header;
    if ((void *)(vlan + 1) > end)
      return pass(REASON_TRUNCATED);
    type = vlan->type;
    header = vlan + 1;
  }
  if (type == bpf_htons(ETH_P_ARP))
    return answer_arp(eth, header, end);
  struct flow flow = {.ip_at = header - (void *)eth};
  if (type == bpf_htons(ETHERTYPE_SEARCH))
    type = searched_type(&flow, eth, header, end);
  int verdict;
  if (type == bpf_htons(ETH_P_IP))
    verdict = read_ipv4(&flow, eth, header, end, &header);
  else if (type == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr *ip = header;
    if ((void *)(ip + 1) > end)
      return pass(REASON_TRUNCATED);
    verdict = CONTINUE;
    if (ip->nexthdr == IPPROTO_ICMPV6 && !flow.is_asked && !flow.is_not_here)
      verdict = answer_neighbour(ctx, flow.ip_at);
    if (verdict == CONTINUE)
      verdict = read_ipv6(&flow, eth, ip, end, &header);
  } else
    return pass(REASON_NOT_IP);
  if (verdict != CONTINUE)
    return verdict;
  if (flow.fragment == FRAGMENT_LATER)
    return take_later_fragment(ctx, eth, &flow);
  OPAQUE(header);
  flow.transport_at = header - (void *)eth;
  verdict = read_transport(&flow, header, end);
  if (verdict != CONTINUE)
    return verdict;
  return take_flow(ctx, eth, &flow);
}
