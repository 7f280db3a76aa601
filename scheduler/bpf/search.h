/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Search: a frame whose connection is neither where the bucket table leads nor with the bucket's previous node. The node that
 * would reset the connection asks all scattered nodes first, one after the other: each keeps the frame, if it has the
 * connection, or sends it back. Only who searches decides where it goes next, so what a node knows that has just lost its
 * processes, or come from another side of the network, does not matter. Fragments are not searched for.
 */
#pragma once
#undef COVERAGE_FILE
#define COVERAGE_FILE 5

/* The lowest number from this one on of a scattered node that can be reached, but for one; NODE_NOBODY: there is none. */
static __always_inline __u32 next_scattered(__u32 from, __u32 except) {
#pragma unroll
  for (__u32 i = 0; i < SCATTERED_WORDS; i++) {
    __u64 bits = control.scattered[i];
    __u32 first = i * 64;
    if (from > first)
      bits &= from - first < 64 ? ~0ULL << (from - first) : 0;
    if (except >> 6 == i)
      bits &= ~(1ULL << (except & 63));
    bits &= -bits;
    if (!bits)
      continue;
    return first + ((bits >> 32 != 0) << 5 | ((bits & 0xffff0000ffff0000ULL) != 0) << 4 |
                    ((bits & 0xff00ff00ff00ff00ULL) != 0) << 3 | ((bits & 0xf0f0f0f0f0f0f0f0ULL) != 0) << 2 |
                    ((bits & 0xccccccccccccccccULL) != 0) << 1 | ((bits & 0xaaaaaaaaaaaaaaaaULL) != 0));
  }
  return NODE_NOBODY;
}

/* The number of the member that sent the frame, NODE_NOBODY if it is not known. */
static __always_inline __u32 sender_of(const struct ethernet *eth) {
  __u64 mac = 0;
  copy_mac(&mac, eth->from);
  __u32 *number = bpf_map_lookup_elem(&members, &mac);
  return number ? *number : NODE_NOBODY;
}

/* Whether the frame may belong to a connection that is elsewhere, and this node has it not. */
static __noinline int is_missing(struct xdp_md *ctx, const struct flow *flow, const struct vserver *vserver) {
  if (flow->fragment || vserver->flags & VSERVER_DIRECT || !may_be_older(flow))
    return 0;
  return !has_connection(ctx, flow);
}

/*
 * Asks a scattered node for the frame's connection, which is missing here. Without one the frame stays, and the stack resets
 * the connection: not while that is in doubt.
 */
static __noinline int ask(struct xdp_md *ctx, const struct flow *flow, __u32 number) {
  __u32 row = number;
  if (number == NODE_NOBODY)
    return control.is_in_doubt ? drop(REASON_IN_DOUBT) : XDP_PASS;
  struct node *node = bpf_map_lookup_elem(&nodes, &row);
  void *end = (void *)(long)ctx->data_end;
  struct ethernet *eth = (void *)(long)ctx->data;
  if (!node || (void *)(eth + 1) > end) /* never: for the verifier */
    return XDP_PASS;
  set_type(ctx, flow, bpf_htons(ETHERTYPE_SEARCH), 0);
  count(REASON_SEARCHED);
  return send_to(eth, node);
}

/*
 * Searches for the connection of a frame that would stay here, after its second chance: `first` is who would have got that,
 * and can't be asked.
 */
static __always_inline int search(struct xdp_md *ctx, const struct flow *flow, const struct vserver *vserver,
                                  __u32 first) {
  if (!is_searching() || !is_missing(ctx, flow, vserver))
    return XDP_PASS;
  return ask(ctx, flow, next_scattered(0, first));
}

static __always_inline __be16 own_type(const struct flow *flow) {
  return flow->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* Another node searches: the frame stays where its connection is, and goes back from everywhere else. */
static __always_inline int answer_search(struct xdp_md *ctx, struct ethernet *eth, const struct flow *flow,
                                         const struct vserver *vserver) {
  if (!is_missing(ctx, flow, vserver)) {
    set_type(ctx, flow, own_type(flow), 0);
    return pass(REASON_FROM_MEMBER);
  }
  copy_mac(eth->to, eth->from);
  copy_mac(eth->from, control.mac);
  set_type(ctx, flow, bpf_htons(ETHERTYPE_SEARCH), SEARCH_NOT_HERE);
  return send_back(REASON_NOT_HERE);
}

/*
 * The connection was not where this node has asked: on to the next one. Who got its second chance comes first, then the
 * others in the order of their numbers, so that none is asked twice.
 */
static __always_inline int search_on(struct xdp_md *ctx, const struct ethernet *eth, const struct flow *flow,
                                     const struct vserver *vserver, __u32 first) {
  __u32 asked = sender_of(eth);
  int verdict = XDP_PASS;
  if (is_missing(ctx, flow, vserver))
    verdict = ask(ctx, flow, next_scattered(asked == first ? 0 : asked + 1, first));
  if (verdict != XDP_PASS)
    return verdict;
  set_type(ctx, flow, own_type(flow), 0);
  return pass(REASON_FROM_MEMBER);
}
