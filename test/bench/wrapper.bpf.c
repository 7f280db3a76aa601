/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Measures XDP programs by BPF_PROG_TEST_RUN. A repeated test run does not restore the packet, so this wrapper
 * writes the headers anew each time, takes a flow (one, or one of many by chance) to a virtual server (likewise), and
 * calls what is measured.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* 198.18.0.100; a virtual server's low four bits are added to this, the others to the port. */
#define FIRST_VIP 0xc6120064
#define FIRST_PORT 80

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u32);
} measured SEC(".maps");

struct settings {
  __u8 mac[ETH_ALEN];
  __u16 reserved;
  /* 0 for one flow, else a power of two less one; likewise the virtual server, of which there are up to 256 */
  __u32 flow_mask;
  __u32 vserver_mask;
  __u32 slot;
};
struct settings settings SEC(".data.settings") = {};

/* The least that a forwarder does: both MAC addresses change, the frame goes back out. */
SEC("xdp.frags")
int mac_swap(struct xdp_md *ctx) {
  void *end = (void *)(long)ctx->data_end;
  struct ethhdr *eth = (void *)(long)ctx->data;
  __u8 other[ETH_ALEN];
  if ((void *)(eth + 1) > end)
    return XDP_PASS;
  __builtin_memcpy(other, eth->h_dest, ETH_ALEN);
  __builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
  __builtin_memcpy(eth->h_source, other, ETH_ALEN);
  return XDP_TX;
}

SEC("xdp.frags")
int wrapper(struct xdp_md *ctx) {
  void *end = (void *)(long)ctx->data_end;
  struct ethhdr *eth = (void *)(long)ctx->data;
  struct iphdr *ip = (void *)(eth + 1);
  struct tcphdr *tcp = (void *)(ip + 1);
  if ((void *)(tcp + 1) > end)
    return XDP_ABORTED;
  __builtin_memcpy(eth->h_dest, settings.mac, ETH_ALEN);
  __builtin_memset(eth->h_source, 10, ETH_ALEN);
  if (settings.flow_mask) {
    __u32 chance = bpf_get_prandom_u32();
    __u32 flow = chance & settings.flow_mask, vserver = chance >> 24 & settings.vserver_mask;
    ip->saddr = bpf_htonl(0x0b000000 | (flow * 2654435761u) >> 8);
    ip->daddr = bpf_htonl(FIRST_VIP + (vserver & 15));
    tcp->source = bpf_htons(1024 + (flow & 0x7fff));
    tcp->dest = bpf_htons(FIRST_PORT + (vserver >> 4));
  }
  bpf_tail_call(ctx, &measured, settings.slot);
  return XDP_ABORTED;
}
