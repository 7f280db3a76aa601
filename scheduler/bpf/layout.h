/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the XDP program and user space share. The TypeScript side (scheduler/layout.ts) is generated from the
 * compiled object's type information; raise LAYOUT_VERSION when the meaning of a field changes, so that a new
 * process does not adopt maps that it would misread.
 */
#pragma once
#include <linux/types.h>

enum layout_version { LAYOUT_VERSION = 1 };

/* Why a frame went where it went. One per-CPU counter each; frames given to nodes are counted by node. */
enum reason {
  REASON_TRUNCATED,           /* passed: ends before its headers do, or a header contradicts itself */
  REASON_NOT_IP,              /* passed: neither IP nor an ARP request for a VIP that is answered here */
  REASON_OTHER_MAC,           /* passed: not addressed to our own MAC (broadcast, multicast, flooded) */
  REASON_STANDBY,             /* passed: this node does not schedule */
  REASON_OTHER_PROTOCOL,      /* passed: neither TCP, UDP nor an ICMP error that quotes one */
  REASON_NO_VSERVER,          /* passed: no virtual server has this address and port */
  REASON_FROM_MEMBER,         /* passed: a member of the array has scheduled it already */
  REASON_FRAGMENT_UNKNOWN,    /* passed: a later fragment whose first one was not seen */
  REASON_ICMP_UNOWNED,        /* passed: an ICMP error about a flow that no living node owns */
  REASON_NO_NODE,             /* dropped: neither owner nor next is a living node */
  REASON_CLAIMED,             /* an unassigned bucket went to its next (its frame counts for the node, too) */
  REASON_FOLLOWED,            /* a bucket of a dead node went to its next (likewise) */
  REASON_EVENT_LOST,          /* such a change could not be told: the ring was full */
  REASON_ICMP_ERROR,          /* given to the flow's owner (likewise) */
  REASON_FIRST_FRAGMENT,      /* scheduled and remembered (likewise) */
  REASON_LATER_FRAGMENT,      /* sent after its first one (likewise) */
  REASON_ARP_ANSWERED,        /* sent back: an ARP request for a VIP */
  REASON_NEIGHBOUR_ANSWERED,  /* sent back: a neighbour solicitation for a VIP */
  REASON_COUNT,
};

enum node_flag { NODE_UP = 1, NODE_SELF = 2 };
enum node_number { NODE_NOBODY = 255, NODE_COUNT = 256 };

/*
 * An entry of the Client IP Hash Table. The first four bytes change by compare-and-swap only: they are one
 * 32-bit word, as owner and next have to change together.
 */
struct bucket {
  union {
    struct {
      __u8 owner;
      __u8 next;
      __u16 reserved;
    };
    __u32 word;
  };
  __u32 last_access; /* CLOCK_MONOTONIC in units of 2^30 ns; 0: never */
};

struct node {
  __u8 mac[6];
  __u16 reserved;
  enum node_flag flags;
  enum node_number number;
};

struct node_traffic {
  __u64 packets;
  __u64 bytes;
};

/* IPv4 stands in the first four bytes; ports are in network order. */
struct vserver_key {
  __u32 address[4];
  __u16 port;
  __u8 protocol;
  __u8 family;
};
struct vserver {
  __u32 index;
};
struct vip_key {
  __u32 address[4];
  __u32 family;
};

/* A bucket has a new owner: `previous` was dead, or NODE_NOBODY. */
struct event {
  __u32 bucket;
  __u8 owner;
  __u8 previous;
  __u16 vserver;
};

#define MEMBER_FILTER_WORDS 16

struct control {
  __u64 hash_key[6];
  __u8 mac[6];
  __u16 reserved;
  enum layout_version layout;
  __u32 table_mask;
  __u32 is_scheduling;
  __u32 reserved2;
  /* A bit per hash of a member's MAC: spares all other frames the look-up in `members`. */
  __u64 member_filter[MEMBER_FILTER_WORDS];
};

struct lease {
  __u64 until_ns; /* CLOCK_MONOTONIC */
};
