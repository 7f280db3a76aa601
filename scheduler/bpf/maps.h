/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The maps, and the counters that each way out has. Sizes are defaults where the loader sets them. */
#pragma once
#undef COVERAGE_FILE
#define COVERAGE_FILE 1

#define BUCKETS 65536
#define TRAFFIC_ENTRIES 16
#define VSERVER_ENTRIES 65536
#define VIP_ENTRIES 32768
#define MEMBERS 256
#define FRAGMENTS 16384
#define RING_BYTES (1 << 18)

/* Of one interface. */
struct control control SEC(".data.control") = {.hand_over_to = NODE_NOBODY};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, NODE_COUNT *GROUP_COUNT);
  __type(key, __u32);
  __type(value, struct node);
} nodes SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, MEMBERS);
  __type(key, __u64);
  __type(value, __u32);
} members SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, NODE_COUNT *CHANNEL_COUNT);
  __type(key, __u32);
  __type(value, struct peer);
} peers SEC(".maps");

/* Of all interfaces together. */
struct lease lease SEC(".data.lease") = {};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, BUCKETS + DIRECT_BUCKETS);
  __type(key, __u32);
  __type(value, struct bucket);
} buckets SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, GROUP_COUNT);
  __type(key, __u32);
  __type(value, struct group);
} groups SEC(".maps");
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
  __uint(max_entries, VSERVER_ENTRIES);
  __type(key, struct vserver6_key);
  __type(value, struct vserver);
} vservers6 SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, VIP_ENTRIES);
  __type(key, struct vip_key);
  __type(value, __u32);
} vips SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FRAGMENTS);
  __type(key, struct fragment_key);
  __type(value, struct fragment);
} fragments SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, RING_BYTES);
} held SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, RING_BYTES);
} events SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REASON_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, TRAFFIC_ENTRIES);
  __type(key, __u32);
  __type(value, struct traffic_rows);
} traffic SEC(".maps");

/*
 * The latest kernel tick with the coarse clock's second then (its low halves): the clock moves with the ticks, and
 * reading it anew for each frame costs as much as the table's look-up.
 */
__u64 tick SEC(".data.tick") = 0;

/* Puts these into the type information that layout.ts is generated from; libbpf skips the section. */
struct layout {
  enum reason reason;
  enum group_bounds group_bounds;
  enum traffic_bounds traffic_bounds;
  enum fragment_bounds fragment_bounds;
  enum heartbeat_kind heartbeat_kind;
  enum heartbeat_flag heartbeat_flag;
  enum channel channel;
  enum heartbeat_bounds heartbeat_bounds;
  enum search_bounds search_bounds;
  struct event event;
  struct held held;
  struct heartbeat heartbeat;
};
const struct layout *layout SEC(".layout") __attribute__((unused));

/* CLOCK_MONOTONIC in the units of a bucket's last access. */
static __always_inline __u32 access_time(void) {
  __u64 jiffies = bpf_jiffies64() << 32, seen = *(volatile __u64 *)&tick;
  if ((seen ^ jiffies) >> 32) {
    seen = jiffies | bpf_ktime_get_coarse_ns() >> 30;
    *(volatile __u64 *)&tick = seen;
  }
  return seen;
}

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

static __always_inline int drop(enum reason reason) {
  count(reason);
  return XDP_DROP;
}

static __always_inline int send_back(enum reason reason) {
  count(reason);
  return XDP_TX;
}
