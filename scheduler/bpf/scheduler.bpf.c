/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The scheduler's data plane. A frame for a virtual server is hashed by its client's address and port to a
 * bucket, and goes to the node that owns it: up the own stack, or back out of the same port with both MAC
 * addresses rewritten. Nothing above Ethernet changes. What isn't ours is passed on to the stack untouched.
 *
 * User space decides who gets a bucket and writes it as the bucket's `next` beforehand; this program only
 * follows it. See README.md one folder up.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#ifdef DLBA_COVERAGE
#include "coverage.h"
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Default sizes; the loader sets the number of buckets. */
#define BUCKETS 65536
#define VSERVER_ENTRIES 65536
#define VIP_ENTRIES 32768
#define MEMBERS 256
#define FRAGMENTS 16384
#define EVENT_BYTES (1 << 18)
#define MAX_VLAN_TAGS 2
#define MAX_EXTENSION_HEADERS 6

struct control control SEC(".data.control") = {};
struct lease lease SEC(".data.lease") = {};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, BUCKETS);
  __type(key, __u32);
  __type(value, struct bucket);
} buckets SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, NODE_COUNT);
  __type(key, __u32);
  __type(value, struct node);
} nodes SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, VSERVER_ENTRIES);
  __type(key, struct vserver_key);
  __type(value, struct vserver);
} vservers SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, VIP_ENTRIES);
  __type(key, struct vip_key);
  __type(value, __u32);
} vips SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, MEMBERS);
  __type(key, __u64);
  __type(value, __u32);
} members SEC(".maps");
struct fragment_key {
  __u32 source[4], destination[4];
  __u32 id;
  __u32 protocol;
};
struct fragment {
  __u32 bucket;
  __u32 vserver;
};
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FRAGMENTS);
  __type(key, struct fragment_key);
  __type(value, struct fragment);
} fragments SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, EVENT_BYTES);
} events SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REASON_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, NODE_COUNT);
  __type(key, __u32);
  __type(value, struct node_traffic);
} traffic SEC(".maps");

/* Puts these into the type information that layout.ts is generated from; libbpf skips the section. */
const struct event *event_layout SEC(".layout") __attribute__((unused));
const enum reason *reason_layout SEC(".layout") __attribute__((unused));

/*
 * linux/if_ether.h packs its header, which makes clang read it byte by byte; both architectures that we load on
 * read words at any address.
 */
struct ethernet {
  __u16 to[3];
  __u16 from[3];
  __be16 type;
};
struct arp {
  __be16 hardware, protocol;
  __u8 hardware_size, protocol_size;
  __be16 operation;
  __u8 sender_mac[ETH_ALEN];
  __u8 sender_ip[4];
  __u8 target_mac[ETH_ALEN];
  __u8 target_ip[4];
} __attribute__((packed));
/* Of RFC 4861 4.3 and 4.4; the option is there or not. */
struct neighbour {
  __u8 type, code;
  __u16 checksum;
  __u32 flags;
  __u32 target[4];
  __u8 option_type, option_units;
  __u8 option_mac[ETH_ALEN];
} __attribute__((packed));
#define NEIGHBOUR_BYTES 24
#define NEIGHBOUR_OPTION_BYTES 32
/* linux/icmp.h pulls in the C library's headers, which a BPF target doesn't have. */
struct icmp_error {
  __u8 type, code;
  __u16 checksum;
  __u32 rest;
};
struct vlan {
  __be16 tci, type;
};
struct ports {
  __be16 source, destination;
};

/* What the headers say, from the client's side: an ICMP error's quoted packet is turned around. */
struct flow {
  __u32 client[4], vip[4];
  __be16 client_port, vip_port;
  __u8 protocol, family;
  __u8 is_icmp_error;
  /* 0: whole; else the first or a later fragment */
  __u8 fragment;
  __u32 fragment_id;
};
enum { FRAGMENT_FIRST = 1, FRAGMENT_LATER = 2 };

/* Not a verdict: go on. */
#define CONTINUE (-1)

/* Keeps clang from deriving two registers from one variable packet offset: the verifier would lose its range. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

static __always_inline void count(enum reason reason) {
  __u32 key = reason;
  __u64 *counter = bpf_map_lookup_elem(&counters, &key);
  if (counter) /* always: for the verifier */
    ++*counter;
}

static __always_inline int pass(enum reason reason) {
  count(reason);
  return XDP_PASS;
}

typedef __u32 __attribute__((may_alias)) any_u32;
typedef __u16 __attribute__((may_alias)) any_u16;

static __always_inline void copy_mac(void *to, const void *from) {
  *(any_u32 *)to = *(const any_u32 *)from;
  *(any_u16 *)(to + 4) = *(const any_u16 *)(from + 4);
}

static __always_inline int is_own_mac(const struct ethernet *eth) {
  return *(const any_u32 *)eth->to == *(const any_u32 *)control.mac && eth->to[2] == *(any_u16 *)(control.mac + 4);
}

/* Broadcast, multicast or to us: not flooded on its way to somebody else. */
static __always_inline int may_ask_us(const struct ethernet *eth) {
  return eth->to[0] & bpf_htons(0x100) || is_own_mac(eth);
}

/* Whether an array member sent this frame: then it has been scheduled, and a second time would be a loop. */
static __always_inline int is_from_member(const struct ethernet *eth) {
  __u32 hash = (*(const any_u32 *)&eth->from[1] * 0x9E3779B1u) >> 22;
  if (!(control.member_filter[(hash >> 6) & (MEMBER_FILTER_WORDS - 1)] >> (hash & 63) & 1))
    return 0;
  __u64 mac = 0;
  copy_mac(&mac, eth->from);
  return bpf_map_lookup_elem(&members, &mac) != 0;
}

/*
 * Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014) under 64-bit keys:
 * whoever doesn't know them can't find clients that meet in a bucket. Two multiplications for IPv4. The mixing
 * afterwards spreads one client's successive ports, which form an arithmetic progression up to there.
 */
static __always_inline __u32 bucket_of(const struct flow *flow) {
  __u64 hash = control.hash_key[0] + control.hash_key[1] * flow->client[0] + control.hash_key[2] * flow->client_port;
  if (flow->family == 6)
    hash += control.hash_key[3] * flow->client[1] + control.hash_key[4] * flow->client[2] +
            control.hash_key[5] * flow->client[3];
  hash ^= hash >> 32;
  hash *= 0x9FB21C651E98DF25ULL;
  return (__u32)(hash >> 32) & control.table_mask;
}

static __always_inline struct node *living_node(__u32 number) {
  struct node *node = bpf_map_lookup_elem(&nodes, &number);
  if (!node || !(node->flags & NODE_UP))
    return 0;
  return node;
}

static __always_inline void tell(__u32 bucket, __u32 owner, __u32 previous, __u32 vserver) {
  struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (!event) {
    count(REASON_EVENT_LOST);
    return;
  }
  event->bucket = bucket;
  event->owner = owner;
  event->previous = previous;
  event->vserver = vserver;
  bpf_ringbuf_submit(event, 0);
}

/* Gives a bucket without a living owner to its next. Returns the node that has it now, or 0 for none. */
static __always_inline struct node *follow_next(struct bucket *bucket, __u32 index, __u32 word, __u32 vserver) {
  __u32 next = word >> 8 & 0xff;
  struct node *node = living_node(next);
  if (!node)
    return 0;
  __u32 seen = __sync_val_compare_and_swap(&bucket->word, word, (word & ~0xffu) | next);
  /* Another CPU, or user space, was faster: what it decided counts. */
  if (seen != word)
    return living_node(seen & 0xff);
  __u32 previous = word & 0xff;
  count(previous == NODE_NOBODY ? REASON_CLAIMED : REASON_FOLLOWED);
  tell(index, next, previous, vserver);
  return node;
}

static __always_inline int give_to(struct xdp_md *ctx, struct ethernet *eth, const struct node *node) {
  __u32 number = node->number;
  struct node_traffic *sum = bpf_map_lookup_elem(&traffic, &number);
  if (sum) { /* always: for the verifier */
    sum->packets++;
    sum->bytes += ctx->data_end - ctx->data;
  }
  if (node->flags & NODE_SELF)
    return XDP_PASS;
  copy_mac(eth->to, node->mac);
  /* Our own source MAC: else the switch would learn the client's at our port. */
  copy_mac(eth->from, control.mac);
  return XDP_TX;
}

static __always_inline int schedule(struct xdp_md *ctx, struct ethernet *eth, __u32 index, __u32 vserver,
                                    __u64 now_ns) {
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &index);
  if (!bucket) /* never: for the verifier */
    return pass(REASON_NO_VSERVER);
  __u32 word = *(volatile __u32 *)&bucket->word;
  struct node *node = living_node(word & 0xff);
  if (!node)
    node = follow_next(bucket, index, word, vserver);
  if (!node) {
    count(REASON_NO_NODE);
    return XDP_DROP;
  }
  __u32 now = now_ns >> 30;
  /* At most one write a second: the cache line stays shared between the CPUs. */
  if (bucket->last_access != now)
    bucket->last_access = now;
  return give_to(ctx, eth, node);
}

/* An error goes to the flow's owner. It tells of the past: it neither claims a bucket nor keeps one from idling. */
static __always_inline int schedule_error(struct xdp_md *ctx, struct ethernet *eth, __u32 index) {
  struct bucket *bucket = bpf_map_lookup_elem(&buckets, &index);
  if (!bucket) /* never: for the verifier */
    return pass(REASON_NO_VSERVER);
  struct node *node = living_node(bucket->owner);
  if (!node)
    return pass(REASON_ICMP_UNOWNED);
  count(REASON_ICMP_ERROR);
  return give_to(ctx, eth, node);
}

static __always_inline void set_fragment_key(struct fragment_key *key, const struct flow *flow) {
  __builtin_memcpy(key->source, flow->client, sizeof(key->source));
  __builtin_memcpy(key->destination, flow->vip, sizeof(key->destination));
  key->id = flow->fragment_id;
  /* IPv6 reassembles by addresses and identification alone (RFC 8200 4.5). */
  key->protocol = flow->family == 4 ? flow->protocol : 6 << 8;
}

/* A later fragment has no ports: it goes where its first one went. */
static __always_inline int schedule_later_fragment(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow,
                                                   __u64 now_ns) {
  struct fragment_key key = {};
  set_fragment_key(&key, flow);
  struct fragment *first = bpf_map_lookup_elem(&fragments, &key);
  if (!first)
    return pass(REASON_FRAGMENT_UNKNOWN);
  if (is_from_member(eth))
    return pass(REASON_FROM_MEMBER);
  count(REASON_LATER_FRAGMENT);
  return schedule(ctx, eth, first->bucket, first->vserver, now_ns);
}

static __always_inline int schedule_flow(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow,
                                         __u64 now_ns) {
  struct vserver_key key = {};
  __builtin_memcpy(key.address, flow->vip, sizeof(key.address));
  key.port = flow->vip_port;
  key.protocol = flow->protocol;
  key.family = flow->family;
  struct vserver *vserver = bpf_map_lookup_elem(&vservers, &key);
  if (!vserver)
    return pass(REASON_NO_VSERVER);
  if (is_from_member(eth))
    return pass(REASON_FROM_MEMBER);
  __u32 index = bucket_of(flow);
  if (flow->fragment) {
    struct fragment_key fragment = {};
    struct fragment value = {.bucket = index, .vserver = vserver->index};
    set_fragment_key(&fragment, flow);
    bpf_map_update_elem(&fragments, &fragment, &value, BPF_ANY);
    count(REASON_FIRST_FRAGMENT);
  }
  if (flow->is_icmp_error)
    return schedule_error(ctx, eth, index);
  return schedule(ctx, eth, index, vserver->index, now_ns);
}

/* Answers an ARP request for a VIP, in place, while the lease lasts (RFC 826). */
static __always_inline int answer_arp(struct ethernet *eth, struct arp *arp, void *end, __u64 now_ns) {
  if ((void *)(arp + 1) > end)
    return pass(REASON_TRUNCATED);
  if (arp->operation != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) || now_ns >= lease.until_ns)
    return pass(REASON_NOT_IP);
  /* A flooded frame that asks somebody else is none of ours. */
  if (!may_ask_us(eth))
    return pass(REASON_OTHER_MAC);
  __u32 sender, target;
  __builtin_memcpy(&sender, arp->sender_ip, 4);
  __builtin_memcpy(&target, arp->target_ip, 4);
  struct vip_key key = {.address = {target}, .family = 4};
  /* A host that asks for its own address announces it. */
  if (sender == target || !bpf_map_lookup_elem(&vips, &key))
    return pass(REASON_NOT_IP);
  arp->operation = bpf_htons(2);
  copy_mac(arp->target_mac, arp->sender_mac);
  __builtin_memcpy(arp->target_ip, &sender, 4);
  copy_mac(arp->sender_mac, control.mac);
  __builtin_memcpy(arp->sender_ip, &target, 4);
  copy_mac(eth->to, eth->from);
  copy_mac(eth->from, control.mac);
  count(REASON_ARP_ANSWERED);
  return XDP_TX;
}

static __always_inline __u16 folded(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

/*
 * Answers a neighbour solicitation for a VIP, in place (RFC 4861 7.2.4). One without the sender's link-layer
 * address is answered when it came by unicast, where the answer may leave that option out, too. Bytes behind the
 * first option stay as padding. CONTINUE: it is not for us to answer.
 */
static __always_inline int answer_neighbour(struct ethernet *eth, struct ipv6hdr *ip, void *end, __u64 now_ns) {
  struct neighbour *ask = (void *)(ip + 1);
  if ((void *)ask + NEIGHBOUR_BYTES > end)
    return CONTINUE;
  if (ask->type != 135 || ask->code != 0 || ip->hop_limit != 255 || now_ns >= lease.until_ns)
    return CONTINUE;
  if (!may_ask_us(eth))
    return CONTINUE;
  struct vip_key key = {.family = 6};
  __builtin_memcpy(key.address, ask->target, sizeof(key.address));
  if (!bpf_map_lookup_elem(&vips, &key))
    return CONTINUE;
  __u32 length = bpf_ntohs(ip->payload_len);
  int has_option = 0;
  if (length >= NEIGHBOUR_OPTION_BYTES && (void *)(ask + 1) <= end)
    has_option = ask->option_type == 1 && ask->option_units == 1;
  /* Without it (as when an address is probed for duplicates) only a unicast question can be answered. */
  if (!has_option && (length != NEIGHBOUR_BYTES || !is_own_mac(eth)))
    return CONTINUE;
  length = has_option ? NEIGHBOUR_OPTION_BYTES : NEIGHBOUR_BYTES;
  ask->type = 136;
  ask->checksum = 0;
  ask->flags = bpf_htonl(0x60000000); /* solicited, override */
  ip->payload_len = bpf_htons(length);
  __builtin_memcpy(&ip->daddr, &ip->saddr, 16);
  __builtin_memcpy(&ip->saddr, key.address, 16);
  copy_mac(eth->to, eth->from);
  copy_mac(eth->from, control.mac);
  __u32 sum = bpf_csum_diff(0, 0, (void *)&ip->saddr, 32, bpf_htonl(length + IPPROTO_ICMPV6));
  sum = bpf_csum_diff(0, 0, (void *)ask, NEIGHBOUR_BYTES, sum);
  if (has_option && (void *)(ask + 1) <= end) {
    ask->option_type = 2;
    copy_mac(ask->option_mac, control.mac);
    sum = bpf_csum_diff(0, 0, (void *)&ask->option_type, 8, sum);
  }
  ask->checksum = folded(sum);
  count(REASON_NEIGHBOUR_ANSWERED);
  return XDP_TX;
}

/* Takes the ports out of the packet that an ICMP error quotes: one that a VIP sent to a client. */
static __always_inline int read_quoted_ports(struct flow *flow, struct ports *ports, void *end) {
  OPAQUE(ports);
  if ((void *)(ports + 1) > end)
    return pass(REASON_TRUNCATED);
  flow->vip_port = ports->source;
  flow->client_port = ports->destination;
  flow->is_icmp_error = 1;
  return CONTINUE;
}

static __always_inline int read_icmp(struct flow *flow, struct icmp_error *icmp, void *end) {
  if ((void *)(icmp + 1) > end)
    return pass(REASON_TRUNCATED);
  /* Unreachable (fragmentation needed, too), time exceeded, parameter problem. */
  if (icmp->type != 3 && icmp->type != 11 && icmp->type != 12)
    return pass(REASON_OTHER_PROTOCOL);
  struct iphdr *quoted = (void *)(icmp + 1);
  if ((void *)(quoted + 1) > end || quoted->ihl < 5)
    return pass(REASON_TRUNCATED);
  if (quoted->saddr != flow->vip[0] || quoted->frag_off & bpf_htons(0x1fff))
    return pass(REASON_OTHER_PROTOCOL);
  flow->protocol = quoted->protocol;
  flow->client[0] = quoted->daddr;
  return read_quoted_ports(flow, (void *)quoted + quoted->ihl * 4, end);
}

static __always_inline int is_same_address(const __u32 *a, const __u32 *b) {
  return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0;
}

static __always_inline int read_icmp6(struct flow *flow, struct icmp_error *icmp, void *end) {
  if ((void *)(icmp + 1) > end)
    return pass(REASON_TRUNCATED);
  /* Unreachable, packet too big, time exceeded, parameter problem. */
  if (icmp->type < 1 || icmp->type > 4)
    return pass(REASON_OTHER_PROTOCOL);
  struct ipv6hdr *quoted = (void *)(icmp + 1);
  if ((void *)(quoted + 1) > end)
    return pass(REASON_TRUNCATED);
  if (!is_same_address(quoted->saddr.in6_u.u6_addr32, flow->vip))
    return pass(REASON_OTHER_PROTOCOL);
  flow->protocol = quoted->nexthdr;
  __builtin_memcpy(flow->client, &quoted->daddr, 16);
  void *next = quoted + 1;
  if (flow->protocol == IPPROTO_FRAGMENT) {
    __u8 *fragment = next;
    if (fragment + 8 > (__u8 *)end)
      return pass(REASON_TRUNCATED);
    if (*(__be16 *)(fragment + 2) & bpf_htons(0xfff8))
      return pass(REASON_OTHER_PROTOCOL);
    flow->protocol = fragment[0];
    next = fragment + 8;
  }
  return read_quoted_ports(flow, next, end);
}

/* Reads what follows the IP headers. CONTINUE when the flow is complete. */
static __always_inline int read_transport(struct flow *flow, void *header, void *end) {
  if (flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP) {
    struct ports *ports = header;
    /* Eight bytes are a whole UDP header, and the least that a fragment of TCP may begin with. */
    if (header + 8 > end)
      return pass(REASON_TRUNCATED);
    flow->client_port = ports->source;
    flow->vip_port = ports->destination;
    return CONTINUE;
  }
  if (flow->fragment)
    return pass(REASON_OTHER_PROTOCOL);
  if (flow->protocol == IPPROTO_ICMP && flow->family == 4)
    return read_icmp(flow, header, end);
  if (flow->protocol == IPPROTO_ICMPV6 && flow->family == 6)
    return read_icmp6(flow, header, end);
  return pass(REASON_OTHER_PROTOCOL);
}

/* CONTINUE for a frame that may be scheduled: one to our own MAC, while we are the scheduler. */
static __always_inline int admit(const struct ethernet *eth) {
  /* When a port goes down, a switch floods that MAC's frames: all nodes see them, none may schedule them. */
  if (!is_own_mac(eth))
    return pass(REASON_OTHER_MAC);
  if (!control.is_scheduling)
    return pass(REASON_STANDBY);
  return CONTINUE;
}

static __always_inline int read_ipv4(struct flow *flow, struct ethernet *eth, struct iphdr *ip, void *end,
                                     void **next) {
  if ((void *)(ip + 1) > end || ip->ihl < 5)
    return pass(REASON_TRUNCATED);
  int verdict = admit(eth);
  if (verdict != CONTINUE)
    return verdict;
  flow->family = 4;
  flow->protocol = ip->protocol;
  flow->client[0] = ip->saddr;
  flow->vip[0] = ip->daddr;
  __be16 offset = ip->frag_off;
  if (offset & bpf_htons(0x3fff)) {
    flow->fragment = offset & bpf_htons(0x1fff) ? FRAGMENT_LATER : FRAGMENT_FIRST;
    flow->fragment_id = ip->id;
  }
  *next = (void *)ip + ip->ihl * 4;
  return CONTINUE;
}

static __always_inline int is_extension(__u8 protocol) {
  return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
         protocol == IPPROTO_FRAGMENT;
}

static __always_inline int read_ipv6(struct flow *flow, struct ethernet *eth, struct ipv6hdr *ip, void *end,
                                     __u64 now_ns, void **next) {
  if ((void *)(ip + 1) > end)
    return pass(REASON_TRUNCATED);
  int verdict = CONTINUE;
  if (ip->nexthdr == IPPROTO_ICMPV6)
    verdict = answer_neighbour(eth, ip, end, now_ns);
  if (verdict == CONTINUE)
    verdict = admit(eth);
  if (verdict != CONTINUE)
    return verdict;
  flow->family = 6;
  __builtin_memcpy(flow->client, &ip->saddr, 16);
  __builtin_memcpy(flow->vip, &ip->daddr, 16);
  __u8 protocol = ip->nexthdr;
  __u8 *header = (void *)(ip + 1);
#pragma unroll
  for (int i = 0; i < MAX_EXTENSION_HEADERS && is_extension(protocol); i++) {
    OPAQUE(header);
    if (header + 8 > (__u8 *)end)
      return pass(REASON_TRUNCATED);
    __u8 is_fragment = protocol == IPPROTO_FRAGMENT;
    protocol = header[0];
    if (is_fragment) {
      __be16 offset = *(__be16 *)(header + 2);
      if (offset & bpf_htons(0xfff9)) {
        flow->fragment = offset & bpf_htons(0xfff8) ? FRAGMENT_LATER : FRAGMENT_FIRST;
        flow->fragment_id = *(__u32 *)(header + 4);
      }
      header += 8;
      /* What follows is payload, whatever the number says. */
      if (flow->fragment == FRAGMENT_LATER)
        break;
    } else
      header += 8 + (__u32)header[1] * 8;
  }
  flow->protocol = protocol;
  *next = header;
  return CONTINUE;
}

SEC("xdp")
int scheduler(struct xdp_md *ctx) {
  void *end = (void *)(long)ctx->data_end;
  struct ethernet *eth = (void *)(long)ctx->data;
  if ((void *)(eth + 1) > end) /* never: for the verifier */
    return pass(REASON_TRUNCATED);
  __be16 type = eth->type;
  void *header = eth + 1;
#pragma unroll
  for (int i = 0; i < MAX_VLAN_TAGS && (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)); i++) {
    struct vlan *vlan = header;
    if ((void *)(vlan + 1) > end)
      return pass(REASON_TRUNCATED);
    type = vlan->type;
    header = vlan + 1;
  }
  __u64 now_ns = bpf_ktime_get_coarse_ns();
  if (type == bpf_htons(ETH_P_ARP))
    return answer_arp(eth, header, end, now_ns);
  struct flow flow = {};
  int verdict;
  if (type == bpf_htons(ETH_P_IP))
    verdict = read_ipv4(&flow, eth, header, end, &header);
  else if (type == bpf_htons(ETH_P_IPV6))
    verdict = read_ipv6(&flow, eth, header, end, now_ns, &header);
  else
    return pass(REASON_NOT_IP);
  if (verdict != CONTINUE)
    return verdict;
  if (flow.fragment == FRAGMENT_LATER)
    return schedule_later_fragment(ctx, eth, &flow, now_ns);
  OPAQUE(header);
  verdict = read_transport(&flow, header, end);
  if (verdict != CONTINUE)
    return verdict;
  return schedule_flow(ctx, eth, &flow, now_ns);
}
