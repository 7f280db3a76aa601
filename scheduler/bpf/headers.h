/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Reads a frame's headers into a flow. They lie in the linear part of a frame of several buffers, too. What can't be
 * a flow of a virtual server is passed on to the stack with the reason counted.
 */
#pragma once
#undef COVERAGE_FILE
#define COVERAGE_FILE 2

#define MAX_VLAN_TAGS 2
#define MAX_EXTENSION_HEADERS 6

/*
 * linux/if_ether.h packs its header, which makes clang read it byte by byte; both architectures that we load on
 * read words at any address.
 */
struct ethernet {
  __u16 to[3];
  __u16 from[3];
  __be16 type;
};
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
/* As linux/tcp.h, with the flags as a byte. */
struct tcp {
  __be16 source, destination;
  __be32 sequence, acknowledged;
  __u8 offset, flags;
  __be16 window, checksum, urgent;
};
enum tcp_flag { TCP_SYN = 2, TCP_ACK = 16 };

/* What the headers say, from the client's side: an ICMP error's quoted packet is turned around. */
struct flow {
  __u32 client[4], vip[4];
  __be16 client_port, vip_port;
  __u8 protocol, family;
  __u8 is_icmp_error;
  /* The scheduler, or the former one, has given the frame to this node. Else it is scheduled. */
  __u8 is_given;
  __u8 is_returned; /* the former one has given it to this node, which schedules */
  __u8 is_stray; /* no member sent it, and this node doesn't schedule */
  __u8 is_handed_on; /* another member has sent it here, as its connection may be here */
  __u8 is_asked;     /* likewise, and it is to be sent back if not */
  __u8 is_not_here;  /* it is back from a node that was asked by this one */
  /* 0: whole; else the first or a later fragment */
  __u8 fragment;
  __u32 fragment_id;
  /* 0 where they are not known: not TCP, quoted, or a fragment that ends before them. */
  __u32 tcp_flags;
  __u32 sequence; /* known where the flags are */
  /* Where these headers begin in the frame. */
  __u32 ip_at, transport_at;
};
enum { FRAGMENT_FIRST = 1, FRAGMENT_LATER = 2 };

/* Not a verdict: go on. */
#define CONTINUE (-1)

/* Keeps clang from deriving two registers from one variable packet offset: the verifier would lose its range. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

typedef __u64 __attribute__((may_alias)) any_u64;
typedef __u32 __attribute__((may_alias)) any_u32;
typedef __u16 __attribute__((may_alias)) any_u16;

static __always_inline void copy_mac(void *to, const void *from) {
  *(any_u32 *)to = *(const any_u32 *)from;
  *(any_u16 *)(to + 4) = *(const any_u16 *)(from + 4);
}

static __always_inline int is_same_mac(const void *a, const void *b) {
  return *(const any_u32 *)a == *(const any_u32 *)b && *(const any_u16 *)(a + 4) == *(const any_u16 *)(b + 4);
}

static __always_inline int send_to(struct ethernet *eth, const struct node *node) {
  copy_mac(eth->to, node->mac);
  /* Our own source MAC: else the switch would learn the client's at our port. */
  copy_mac(eth->from, control.mac);
  return XDP_TX;
}

static __always_inline int is_own_mac(const struct ethernet *eth) {
  return is_same_mac(eth->to, control.mac);
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

/* Whether this node schedules, in this epoch as it was read: another CPU may raise it at any time. */
static __always_inline int schedules_in(__u32 epoch) {
  return epoch && (epoch & 0xff) == control.number;
}

static __always_inline __u32 known_epoch(void) {
  return *(volatile __u32 *)&lease.epoch;
}

/* Whether the scheduler of this epoch sent the frame. All zeros: its address is not known, and nobody sends from there. */
static __always_inline int is_from_scheduler_of(const struct ethernet *eth, __u32 epoch) {
  __u32 row = epoch & 0xff;
  const struct node *node = bpf_map_lookup_elem(&nodes, &row);
  if (!node) /* never: for the verifier */
    return 0;
  return epoch && is_same_mac(eth->from, node->mac) && (*(const any_u32 *)node->mac | *(const any_u16 *)(node->mac + 4));
}

/* Whether some node may have connections of buckets that do not name it. */
static __always_inline int is_searching(void) {
  return control.is_searching || control.is_in_doubt;
}

/* Whether frames that this node was given may belong to another one. */
static __always_inline int looks_at_given(void) {
  return control.has_previous || is_searching();
}

/* What another member has handed on to this node ends here, unless others may have its connection. */
static __always_inline int admit_handed_on(struct flow *flow) {
  if (!is_searching())
    return pass(REASON_FROM_MEMBER);
  flow->is_handed_on = 1;
  return CONTINUE;
}

/* What is under the ethertype of a search, if a member sent it here: IPv4 or IPv6; else 0. Notes which way it goes. */
static __always_inline __be16 searched_type(struct flow *flow, const struct ethernet *eth, const __u8 *ip, void *end) {
  if (!is_own_mac(eth) || !is_from_member(eth) || (void *)(ip + 1) > end)
    return 0;
  flow->is_not_here = *ip >> 7;
  flow->is_asked = !flow->is_not_here;
  __u8 version = (*ip & ~SEARCH_NOT_HERE) >> 4;
  if (version == 4)
    return bpf_htons(ETH_P_IP);
  return version == 6 ? bpf_htons(ETH_P_IPV6) : 0;
}

/* Writes the ethertype, and the packet's first byte with or without the bit of a search. */
static __noinline void set_type(struct xdp_md *ctx, const struct flow *flow, __be16 type, __u8 bit) {
  void *end = (void *)(long)ctx->data_end;
  __be16 *at = (void *)(long)ctx->data + ((flow->ip_at - sizeof(*at)) & 0xff);
  __u8 *ip = (void *)(at + 1);
  if ((void *)(ip + 1) > end) /* never: for the verifier */
    return;
  *at = type;
  *ip = (*ip & ~SEARCH_NOT_HERE) | bit;
}

/*
 * CONTINUE for a frame that is to be scheduled here, or that this node was given and that may belong to another one.
 *
 * No member's frame is ever scheduled, so each is scheduled once. Frames that no member sent come from hosts with an old
 * ARP entry when this node doesn't schedule: its table is the scheduler's. Who was the scheduler before gives such hosts'
 * frames to the scheduler, too.
 */
static __always_inline int admit(struct flow *flow, const struct ethernet *eth) {
  /* When a port goes down, a switch floods that MAC's frames: all nodes see them, none may schedule them. */
  if (!is_own_mac(eth))
    return pass(REASON_OTHER_MAC);
  if (flow->is_asked || flow->is_not_here)
    return CONTINUE;
  __u32 epoch = known_epoch();
  if (schedules_in(epoch)) {
    if (!is_from_member(eth))
      return CONTINUE;
    if (!looks_at_given() || !is_from_scheduler_of(eth, lease.former))
      return admit_handed_on(flow);
    flow->is_given = flow->is_returned = 1;
    return CONTINUE;
  }
  if (is_from_scheduler_of(eth, epoch) || is_from_scheduler_of(eth, lease.former)) {
    if (!looks_at_given())
      return pass(REASON_FROM_SCHEDULER);
    flow->is_given = 1;
    return CONTINUE;
  }
  if (is_from_member(eth))
    return admit_handed_on(flow);
  flow->is_stray = 1;
  return CONTINUE;
}

static __always_inline int read_ipv4(struct flow *flow, struct ethernet *eth, struct iphdr *ip, void *end,
                                     void **next) {
  if ((void *)(ip + 1) > end || ip->ihl < 5)
    return pass(REASON_TRUNCATED);
  int verdict = admit(flow, eth);
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
                                     void **next) {
  int verdict = admit(flow, eth);
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

/* Eight bytes are the least that a fragment may begin with (RFC 791), so they hold the ports. */
static __always_inline int read_tcp_ports(struct flow *flow, struct ports *ports, void *end) {
  if (!flow->fragment || (void *)ports + 8 > end)
    return pass(REASON_TRUNCATED);
  flow->client_port = ports->source;
  flow->vip_port = ports->destination;
  return CONTINUE;
}

/* Reads what follows the IP headers. CONTINUE when the flow is complete. */
static __always_inline int read_transport(struct flow *flow, void *header, void *end) {
  if (flow->protocol == IPPROTO_TCP) {
    struct tcp *tcp = header;
    if ((void *)(tcp + 1) > end)
      return read_tcp_ports(flow, header, end);
    flow->client_port = tcp->source;
    flow->vip_port = tcp->destination;
    flow->tcp_flags = tcp->flags;
    flow->sequence = bpf_ntohl(tcp->sequence);
    return CONTINUE;
  }
  if (flow->protocol == IPPROTO_UDP) {
    struct ports *ports = header;
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
