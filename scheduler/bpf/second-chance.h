/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Second chance: a bucket that has moved names its previous node. A TCP frame of it that belongs to no connection here
 * goes on to that node, which may have it from before. New connections stay here. When the previous node is this one, a
 * frame of a connection that it still has stays, too, whoever the owner is.
 */
#pragma once
#undef COVERAGE_FILE
#define COVERAGE_FILE 4

/* Both an IPv4 header with TCP's smallest one behind it and an IPv6 header have these. */
#define IP_BYTES 40

static __always_inline int is_syn(const struct flow *flow) {
  return (flow->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether the frame answers a SYN cookie of this listener: then the connection begins here, without a socket yet. */
static __always_inline int has_cookie_of(struct bpf_sock *listener, struct xdp_md *ctx, const struct flow *flow) {
  if (!(flow->tcp_flags & TCP_ACK))
    return 0;
  void *end = (void *)(long)ctx->data_end;
  void *ip = (void *)(long)ctx->data + (flow->ip_at & 0xff);
  struct tcphdr *tcp = (void *)(long)ctx->data + (flow->transport_at & 0x3fff);
  if (ip + IP_BYTES > end || (void *)(tcp + 1) > end) /* never: for the verifier */
    return 0;
  return bpf_tcp_check_syncookie(listener, ip, IP_BYTES, tcp, sizeof(*tcp)) == 0;
}

/* What is read of the kernel's own socket; where in it these stand is found out when the program is loaded. */
struct tcp_sock {
  __u32 rcv_nxt, rcv_wnd;
} __attribute__((preserve_access_index));

/*
 * Whether a segment may belong to this very connection, and not to a later one between the same ports: of that there may be
 * an older half here that nobody has closed, as its client could not be heard. A later connection's sequence numbers begin
 * 15 MB a second further on (RFC 6528; so do Linux'). Late copies are from behind the window, and nothing is from beyond it.
 */
static __always_inline int may_be_of(struct bpf_sock *sock, const struct flow *flow) {
  if (!flow->tcp_flags)
    return 1;
  struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sock);
  if (!tcp) /* half open */
    return 1;
  return flow->sequence - tcp->rcv_nxt + BEHIND_WINDOW <= BEHIND_WINDOW + tcp->rcv_wnd + BEYOND_WINDOW;
}

/*
 * Whether this node has the flow's connection, being opened or established. A listener alone is none; neither is one in
 * TIME_WAIT: a client that uses the port again may have a living connection with the previous node, and what is late of
 * the old one gets a reset there, which harms nobody.
 */
static __noinline int has_connection(struct xdp_md *ctx, const struct flow *flow) {
  struct bpf_sock_tuple tuple = {};
  __u32 size = sizeof(tuple.ipv4);
  if (flow->family == 4) {
    tuple.ipv4.saddr = flow->client[0];
    tuple.ipv4.daddr = flow->vip[0];
    tuple.ipv4.sport = flow->client_port;
    tuple.ipv4.dport = flow->vip_port;
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, flow->client, 16);
    __builtin_memcpy(tuple.ipv6.daddr, flow->vip, 16);
    tuple.ipv6.sport = flow->client_port;
    tuple.ipv6.dport = flow->vip_port;
    size = sizeof(tuple.ipv6);
  }
  struct bpf_sock *sock = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!sock)
    return 0;
  int has = sock->state != BPF_TCP_TIME_WAIT;
  if (sock->state == BPF_TCP_LISTEN)
    has = has_cookie_of(sock, ctx, flow);
  else if (has)
    has = may_be_of(sock, flow);
  bpf_sk_release(sock);
  return has;
}

/* Whether the frame may belong to a connection from before its bucket moved. */
static __always_inline int may_be_older(const struct flow *flow) {
  return flow->protocol == IPPROTO_TCP && !is_syn(flow);
}

/* Whether the frame is to go on to the node in this row, which had its bucket before. */
static __noinline int needs_second_chance(struct xdp_md *ctx, const struct flow *flow, __u32 row) {
  if (!may_be_older(flow))
    return 0;
  struct node *node = bpf_map_lookup_elem(&nodes, &row);
  if (!node) /* never: for the verifier */
    return 0;
  if ((node->flags & (NODE_REACHABLE | NODE_SELF)) != NODE_REACHABLE)
    return 0;
  return !has_connection(ctx, flow);
}
