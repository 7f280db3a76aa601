/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the XDP program and user space share. The TypeScript side (scheduler/layout.ts) is generated from the
 * compiled object's type information; raise LAYOUT_VERSION when the meaning of a field changes, so that a new
 * process does not adopt maps that it would misread.
 *
 * Maps of one interface: control, nodes, members, peers. Maps that all interfaces of a node share: all others.
 */
#pragma once
#include <linux/types.h>

enum layout_version { LAYOUT_VERSION = 5 };

/* Why a frame went where it went. One per-CPU counter each; frames given to nodes are counted by vserver and node. */
enum reason {
  REASON_TRUNCATED,           /* passed: ends before its headers do, or a header contradicts itself */
  REASON_NOT_IP,              /* passed: neither IP nor an ARP request for a VIP that is answered here */
  REASON_OTHER_MAC,           /* passed: not addressed to our own MAC (broadcast, multicast, flooded) */
  REASON_STANDBY,             /* dropped: this node neither schedules nor has a table; no member sent the frame */
  REASON_OTHER_PROTOCOL,      /* passed: neither TCP, UDP nor an ICMP error that quotes one */
  REASON_NO_VSERVER,          /* passed: no virtual server has this address and port */
  REASON_FROM_SCHEDULER,      /* passed: the scheduler, or the one before it, has given it to this node */
  REASON_FROM_MEMBER,         /* passed: another member has handed it on to this node */
  REASON_FRAGMENT_UNKNOWN,    /* passed: a later fragment whose first one was not seen, and that can't be held */
  REASON_FRAGMENT_HELD,       /* dropped here: a later fragment before its first one; user space sends it after that */
  REASON_ICMP_UNOWNED,        /* passed: an ICMP error about a flow that no living node owns */
  REASON_NO_NODE,             /* dropped: neither owner nor next is a living node */
  REASON_CLAIMED,             /* an unassigned bucket went to its next (its frame counts for the node, too) */
  REASON_FOLLOWED,            /* a bucket of a dead node went to its next (likewise) */
  REASON_EVENT_LOST,          /* such a change could not be told: the ring was full */
  REASON_ICMP_ERROR,          /* given to the flow's owner (likewise) */
  REASON_FIRST_FRAGMENT,      /* scheduled and remembered (likewise) */
  REASON_LATER_FRAGMENT,      /* sent after its first one (likewise) */
  REASON_SECOND_CHANCE,       /* sent on to the bucket's previous node: no socket here has this connection */
  REASON_IN_DOUBT,            /* dropped: nobody so far has this connection, and this node can't know who may */
  REASON_SEARCHED,            /* sent to a node that may have the connection, which is not here */
  REASON_NOT_HERE,            /* sent back to the node that searches: the connection is not here */
  REASON_ARP_ANSWERED,        /* sent back: an ARP request for a VIP */
  REASON_NEIGHBOUR_ANSWERED,  /* sent back: a neighbour solicitation for a VIP */
  REASON_HEARTBEAT_ANSWERED,  /* sent back: a peer's heartbeat */
  REASON_HEARTBEAT_HEARD,     /* dropped here: a peer's answer to ours, noted in `peers` */
  REASON_HEARTBEAT_REFUSED,   /* dropped: a heartbeat that is forged, replayed, or not for this node */
  REASON_COUNT,
};

/*
 * UP: takes frames. SELF: is this node. REACHABLE: its kernel lives, so connections that it has may be handed on to
 * it even if it is not up. DRAINING is user space's own: kept here so that it outlives a process. SCATTERED: it has, or may
 * have, connections of buckets that do not name it; the interface's `scattered` follows from that.
 */
enum node_flag { NODE_UP = 1, NODE_SELF = 2, NODE_REACHABLE = 4, NODE_DRAINING = 8, NODE_SCATTERED = 16 };
enum node_number { NODE_NOBODY = 255, NODE_COUNT = 256 };

/*
 * Group 0 is the array's nodes; each direct pool is a further group. The buckets of group 0 come first in the bucket
 * map, behind them stand DIRECT_BUCKETS for the direct pools; `nodes` has NODE_COUNT rows for each group.
 */
enum group_bounds { GROUP_COUNT = 65, DIRECT_BUCKETS = 32768 };

/*
 * An entry of the Client IP Hash Table. The first four bytes change by compare-and-swap only: they are one
 * 32-bit word, as owner, next and previous have to change together.
 */
struct bucket {
  union {
    struct {
      __u8 owner;
      __u8 next;
      __u8 previous; /* has connections from before the bucket moved, or NODE_NOBODY */
      __u8 reserved;
    };
    __u32 word;
  };
  __u32 last_access; /* CLOCK_MONOTONIC in units of 2^30 ns; 0: never */
};

/* A node of the array, or a host of a direct pool. Row: node_base of the group + its number. */
struct node {
  __u8 mac[6];
  __u16 slot; /* its place in the traffic rows of a vserver */
  enum node_flag flags;
  enum node_number number;
};

/* A direct pool's part of the bucket map. Row 0 is unused. User space's own: the program has it in each vserver. */
struct group {
  __u64 identity; /* hash of the pool's name; 0: free */
  __u32 table_base;
  __u32 table_size;
};

/*
 * Row: traffic_base of the vserver + the node's slot. An entry of the map holds TRAFFIC_SLOTS rows, as each entry of a
 * per-CPU map costs a pointer to follow.
 */
enum traffic_bounds { TRAFFIC_SLOTS = 64 };
struct traffic {
  __u64 packets;
  __u64 bytes;
  __u64 connections; /* SYNs */
};
struct traffic_rows {
  struct traffic rows[TRAFFIC_SLOTS];
};

/* Ports are in network order. A map for each family: what the look-up costs is the hash of its key. */
struct vserver_key {
  __u32 address;
  __u16 port;
  __u16 protocol;
};
struct vserver6_key {
  __u32 address[4];
  __u16 port;
  __u16 protocol;
};
/* ADDRESS_ONLY: the client's port does not count. DIRECT: its hosts are not nodes, so there is no second chance. */
enum vserver_flag { VSERVER_ADDRESS_ONLY = 1, VSERVER_DIRECT = 2 };
struct vserver {
  __u32 table_base;
  __u32 table_mask;
  __u32 node_base;
  __u32 traffic_base;
  enum vserver_flag flags;
  __u32 index;
};
/* IPv4 stands in the first four bytes. */
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

/* A later fragment that came before its first one. IPv4 addresses stand in the first four bytes. */
struct fragment_key {
  __u32 source[4], destination[4];
  __u32 id;
  __u32 protocol;
};
/* Where the first fragment went. */
struct fragment {
  __u32 bucket; /* NO_ROW: up the own stack, as no virtual server has its port */
  __u32 vserver_index;
  __u32 node_base;
  __u32 traffic_base;
  __u32 handed_on_to; /* the row in `nodes` of the previous node that got it instead of the owner, or NO_ROW */
};
enum fragment_bounds { NO_ROW = 0x7fffffff, HELD_FRAME_BYTES = 2048 };
struct held {
  struct fragment_key key;
  __u32 ifindex;
  __u32 length;
  __u8 frame[HELD_FRAME_BYTES];
};

/* Sequence numbers that a connection's segments may have beside its window. */
enum window_bounds { BEHIND_WINDOW = 1 << 26, BEYOND_WINDOW = 1 << 20 };

#define MEMBER_FILTER_WORDS 16
#define SCATTERED_WORDS 4

/* Of one interface. */
struct control {
  __u64 hash_key[6];
  __u64 heartbeat_keys[2][2]; /* either will do: two differ while the array key is being changed */
  __u64 table_version; /* told in heartbeats; 0: the table is not whole, or not of this epoch */
  __u64 turned_ns;     /* CLOCK_MONOTONIC of the scheduler process's latest turn: for the failover process */
  __u64 hears_ns;      /* an answer of the scheduler counts for so long: see HEARS */
  __u8 mac[6];
  __u16 number; /* this node's */
  enum layout_version layout;
  __u32 has_table;    /* whole: frames that no member sent are scheduled by it, whoever the scheduler is */
  __u32 has_previous; /* some bucket has a previous node: the scheduler's frames are looked at */
  __u32 hand_over_to; /* the node that shall schedule instead of this one, or NODE_NOBODY: for the failover process */
  __u32 is_merging;   /* tables of schedulers that lost are being taken in: for the failover process, too */
  __u32 is_searching; /* there are such: */
  __u32 is_in_doubt; /* this node does not follow a scheduler's table (yet): what it knows of others may be wrong */
  /* A bit for each scattered node that can be reached, by number; not for this one. */
  __u64 scattered[SCATTERED_WORDS];
  /* A bit per hash of a member's MAC: spares all other frames the look-up in `members`. */
  __u64 member_filter[MEMBER_FILTER_WORDS];
};

/*
 * Who schedules, as far as this node knows, and what it has to say about that. An epoch's low byte is the number of the
 * node that schedules in it; 0 is none. The failover process writes all of it; the program raises the epoch when a later
 * one's scheduler asks, and notes offers.
 */
struct lease {
  __u64 until_ns; /* CLOCK_MONOTONIC: questions for a VIP are answered until then, if this node schedules */
  union {
    struct {
      __u32 epoch;  /* the latest that is known: only grows */
      __u32 former; /* the one before: its scheduler's frames get a second chance, too; 0: none */
    };
    __u64 epochs; /* both: they change together, by compare-and-swap */
  };
  __u32 offered; /* the epoch in which its scheduler asked this node to take over; 0: none */
  __u32 told;    /* flags of its answers to heartbeats that are user space's to say: STANDS and SIDE */
  /* The program's own: the scheduler's sent_ns of the latest offer, and its epoch. An offer counts once. */
  __u64 offer_ns;
  __u32 offer_epoch;
};

/*
 * A frame of this ethertype is an IP packet whose connection is searched for. It goes to one node after the other that may
 * have it, and each that has not sends it back to the node that searches, with this bit of the packet's first byte set.
 */
enum search_bounds { ETHERTYPE_SEARCH = 0x88b6, SEARCH_NOT_HERE = 0x80 };

/*
 * A heartbeat: a frame of this ethertype with this behind it, little-endian, padded to the least Ethernet frame. An
 * answer is the question with its kind, epoch, table_version, flags and tag replaced, and the MAC addresses swapped.
 *
 * SCHEDULING: who tells it schedules. LEASED: and its lease lasts. HEARS: it schedules, or the scheduler of its epoch has
 * answered it within `hears_ns`. STANDS: it would take over. OFFER, in questions only: the asked is to take over.
 * SIDE is a number: how many nodes follow who tells it, itself included; 0 when it doesn't schedule.
 */
enum heartbeat_kind { HEARTBEAT_ASK = 1, HEARTBEAT_ANSWER = 2 };
enum heartbeat_flag {
  HEARTBEAT_SCHEDULING = 1,
  HEARTBEAT_LEASED = 2,
  HEARTBEAT_HEARS = 4,
  HEARTBEAT_STANDS = 8,
  HEARTBEAT_OFFER = 16,
  HEARTBEAT_SIDE = 0xff00,
};
/* Which process asks: each has its own row of a peer's answers. */
enum channel { CHANNEL_FAILOVER = 0, CHANNEL_SCHEDULER = 1, CHANNEL_COUNT = 2 };
enum heartbeat_bounds { ETHERTYPE_HEARTBEAT = 0x88b5, HEARTBEAT_VERSION = 1 };
struct heartbeat {
  __u8 version;
  __u8 kind;
  __u8 asker; /* node numbers */
  __u8 asked;
  __u32 epoch; /* of who sends it, as are the next two */
  __u64 table_version; /* 0 in a question */
  __u32 flags;
  enum channel channel; /* of the question */
  __u64 sent_ns; /* the asker's CLOCK_MONOTONIC */
  __u64 tag;     /* SipHash-2-4 of the 32 bytes before it */
};

/* What a peer's kernel last answered on this interface. Row: channel * NODE_COUNT + its number. */
struct peer {
  __u64 answered_ns; /* sent_ns of our latest heartbeat that it answered: never decreases */
  __u64 heard_ns;    /* when that answer came */
  __u64 table_version;
  __u32 epoch;
  __u32 flags;
};
