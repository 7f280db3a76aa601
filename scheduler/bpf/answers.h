/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Frames that are answered here, in place, without user space: ARP requests and neighbour solicitations for a VIP
 * while this node schedules and its lease lasts, and heartbeats of the other nodes always.
 */
#pragma once
#undef COVERAGE_FILE
#define COVERAGE_FILE 3

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

/* Back to where it came from. */
static __always_inline void turn_round(struct ethernet *eth) {
  copy_mac(eth->to, eth->from);
  copy_mac(eth->from, control.mac);
}

/* A later epoch ends the lease, whatever its time says. */
static __always_inline int is_leased(void) {
  return schedules_in(known_epoch()) && bpf_ktime_get_coarse_ns() < lease.until_ns;
}

/* Answers an ARP request for a VIP, in place, while the lease lasts (RFC 826). */
static __always_inline int answer_arp(struct ethernet *eth, struct arp *arp, void *end) {
  if ((void *)(arp + 1) > end)
    return pass(REASON_TRUNCATED);
  if (arp->operation != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) || !is_leased())
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
  turn_round(eth);
  return send_back(REASON_ARP_ANSWERED);
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
 *
 * Not static: the verifier goes through it once, instead of with everything that may follow.
 */
__noinline int answer_neighbour(struct xdp_md *ctx, __u32 ip_at) {
  void *end = (void *)(long)ctx->data_end;
  struct ethernet *eth = (void *)(long)ctx->data;
  struct ipv6hdr *ip = (void *)eth + (ip_at & 0xff);
  struct neighbour *ask = (void *)(ip + 1);
  if ((void *)ask + NEIGHBOUR_BYTES > end || (void *)(eth + 1) > end)
    return CONTINUE;
  if (ask->type != 135 || ask->code != 0 || ip->hop_limit != 255 || !is_leased())
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
  turn_round(eth);
  __u32 sum = bpf_csum_diff(0, 0, (void *)&ip->saddr, 32, bpf_htonl(length + IPPROTO_ICMPV6));
  sum = bpf_csum_diff(0, 0, (void *)ask, NEIGHBOUR_BYTES, sum);
  if (has_option && (void *)(ask + 1) <= end) {
    ask->option_type = 2;
    copy_mac(ask->option_mac, control.mac);
    sum = bpf_csum_diff(0, 0, (void *)&ask->option_type, 8, sum);
  }
  ask->checksum = folded(sum);
  return send_back(REASON_NEIGHBOUR_ANSWERED);
}

#define ROTATED(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define SIP_ROUND                                              \
  do {                                                         \
    a += b, c += d, b = ROTATED(b, 13), d = ROTATED(d, 16);    \
    b ^= a, d ^= c, a = ROTATED(a, 32);                        \
    c += b, a += d, b = ROTATED(b, 17), d = ROTATED(d, 21);    \
    b ^= c, d ^= a, c = ROTATED(c, 32);                        \
  } while (0)
#define SIP_BLOCK(block) \
  do {                   \
    d ^= (block);        \
    SIP_ROUND;           \
    SIP_ROUND;           \
    a ^= (block);        \
  } while (0)

/* SipHash-2-4 of 32 bytes under one of the heartbeat keys (Aumasson and Bernstein 2012). */
static __noinline __u64 sip_hash(__u64 first, __u64 second, __u64 third, __u64 fourth, __u64 which) {
  const __u64 *key = control.heartbeat_keys[which & 1];
  __u64 a = key[0] ^ 0x736f6d6570736575ULL;
  __u64 b = key[1] ^ 0x646f72616e646f6dULL;
  __u64 c = key[0] ^ 0x6c7967656e657261ULL;
  __u64 d = key[1] ^ 0x7465646279746573ULL;
  SIP_BLOCK(first);
  SIP_BLOCK(second);
  SIP_BLOCK(third);
  SIP_BLOCK(fourth);
  SIP_BLOCK(32ULL << 56); /* the length closes the last block */
  c ^= 0xff;
  SIP_ROUND;
  SIP_ROUND;
  SIP_ROUND;
  SIP_ROUND;
  return a ^ b ^ c ^ d;
}

static __always_inline __u64 tag_of(const struct heartbeat *beat, __u64 which) {
  const any_u64 *words = (const void *)beat;
  return sip_hash(words[0], words[1], words[2], words[3], which);
}

/* A scheduler's clock goes on as long as its epoch: what is not later has been heard before. */
static __always_inline void take_offer(const struct heartbeat *beat) {
  if (lease.offer_epoch == beat->epoch && beat->sent_ns <= lease.offer_ns)
    return;
  lease.offer_epoch = beat->epoch;
  lease.offer_ns = beat->sent_ns;
  lease.offered = beat->epoch;
}

/*
 * Who asks tells who schedules. The scheduler of a later epoch is believed at once, so that one that was taken for dead
 * falls silent whatever its processes do; nobody else's word counts. What was told before, or is told again, changes
 * nothing: the epoch only grows, and an offer holds for the present one and counts once. When another CPU is faster, the next question
 * comes soon.
 */
static __always_inline void take_news(const struct heartbeat *beat) {
  __u64 known = *(volatile __u64 *)&lease.epochs;
  __u32 epoch = beat->epoch;
  if (beat->asker != (epoch & 0xff))
    return;
  if (beat->flags & HEARTBEAT_LEASED && epoch > (__u32)known)
    __sync_val_compare_and_swap(&lease.epochs, known, epoch | known << 32);
  if (beat->flags & HEARTBEAT_OFFER && epoch == known_epoch())
    take_offer(beat);
}

/* Whether the scheduler has answered this node lately: by the kernel's own stamps. */
static __always_inline int hears_scheduler(__u32 epoch, __u64 now_ns) {
  __u32 row = CHANNEL_FAILOVER * NODE_COUNT + (epoch & 0xff);
  const struct peer *peer = bpf_map_lookup_elem(&peers, &row);
  if (!peer) /* never: for the verifier */
    return 0;
  return epoch && now_ns < *(volatile __u64 *)&peer->heard_ns + control.hears_ns;
}

static __always_inline __u32 flags_told(__u32 epoch) {
  /* Not the coarse clock: a lease is short. */
  __u64 now_ns = bpf_ktime_get_ns();
  __u32 flags = lease.told & (HEARTBEAT_STANDS | HEARTBEAT_SIDE);
  if (schedules_in(epoch))
    return flags | HEARTBEAT_SCHEDULING | HEARTBEAT_HEARS | (now_ns < lease.until_ns ? HEARTBEAT_LEASED : 0);
  return flags | (hears_scheduler(epoch, now_ns) ? HEARTBEAT_HEARS : 0);
}

/* A peer asks whether this kernel lives: so it does, whatever user space is doing. */
static __always_inline int answer_heartbeat(struct ethernet *eth, struct heartbeat *beat, __u64 which) {
  take_news(beat);
  beat->kind = HEARTBEAT_ANSWER;
  beat->epoch = known_epoch();
  beat->table_version = control.table_version;
  beat->flags = flags_told(beat->epoch);
  /* Under the key of the question: who asks may not know the other one yet. */
  beat->tag = tag_of(beat, which);
  turn_round(eth);
  return send_back(REASON_HEARTBEAT_ANSWERED);
}

/* A peer has answered. Only an answer to a later question than the last one counts, and none from the future. */
static __always_inline int hear_answer(const struct heartbeat *beat) {
  __u32 number = beat->channel * NODE_COUNT + beat->asked;
  struct peer *peer = bpf_map_lookup_elem(&peers, &number);
  if (!peer) /* never: for the verifier */
    return drop(REASON_HEARTBEAT_REFUSED);
  __u64 now_ns = bpf_ktime_get_ns();
  if (beat->sent_ns <= peer->answered_ns || beat->sent_ns > now_ns)
    return drop(REASON_HEARTBEAT_REFUSED);
  peer->epoch = beat->epoch;
  peer->flags = beat->flags;
  peer->table_version = beat->table_version;
  peer->heard_ns = now_ns;
  /* Last: who sees this one sees the others. */
  *(volatile __u64 *)&peer->answered_ns = beat->sent_ns;
  return drop(REASON_HEARTBEAT_HEARD);
}

static __always_inline int take_heartbeat(struct ethernet *eth, struct heartbeat *beat, void *end) {
  if (!is_own_mac(eth))
    return pass(REASON_OTHER_MAC);
  if ((void *)(beat + 1) > end || beat->version != HEARTBEAT_VERSION)
    return drop(REASON_HEARTBEAT_REFUSED);
  if (beat->asker == beat->asked || beat->channel >= CHANNEL_COUNT)
    return drop(REASON_HEARTBEAT_REFUSED);
  __u64 which = tag_of(beat, 0) != beat->tag;
  if (which && tag_of(beat, 1) != beat->tag)
    return drop(REASON_HEARTBEAT_REFUSED);
  if (beat->kind == HEARTBEAT_ASK && beat->asked == control.number)
    return answer_heartbeat(eth, beat, which);
  if (beat->kind == HEARTBEAT_ANSWER && beat->asker == control.number)
    return hear_answer(beat);
  return drop(REASON_HEARTBEAT_REFUSED);
}
