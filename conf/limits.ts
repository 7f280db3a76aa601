/**
 * Every bound of the product stands here, with its unit in its name. What operators may tune is in the
 * schema (its defaults and ranges come from here); the rest is fixed.
 */

// The array.
export const MAX_NODES = 64;
/** Node numbers are one byte in a bucket; 255 means "nobody". */
export const MAX_NODE_NUMBER = 254;
export const NOBODY = 255;
export const MAX_VSERVERS = 1024;
export const MAX_VIPS_PER_VSERVER = 32;
export const MAX_PORTS_PER_VSERVER = 64;
export const MAX_POOLS = 1024;
export const MAX_SERVERS_PER_POOL = 256;
export const MAX_CERTIFICATES_PER_VSERVER = 256;
export const MAX_WEIGHT = 256;
export const MAX_PRIORITY = 254;
export const MIN_TABLE_SIZE = 256;
export const MAX_TABLE_SIZE = 1_048_576;
export const MAX_CONFIG_BYTES = 4_194_304;
export const MAX_CONFIG_ERRORS = 200;
/** Values of a configuration, counted with every alias written out. */
export const MAX_CONFIG_VALUES = 1_000_000;
export const ARRAY_KEY_BYTES = 32;
/** Of its file, comments included. */
export const ARRAY_KEY_FILE_BYTES = 4096;
/** Segments that a node is on. */
export const MAX_INTERFACES = 8;
/** Buckets of all direct pools together, and how many such pools and hosts in each there may be. */
export const DIRECT_BUCKETS = 32_768;
export const MAX_DIRECT_POOLS = 64;
export const MAX_DIRECT_HOSTS = 64;

// Changing the array key.
/** A node's processes take another key within this time, or are said not to have. */
export const KEY_TAKE_MS = 2000;
/** After a key was forgotten, connections that were made with it end so much later. */
export const KEY_FORGET_MS = 1000;
/** For one question of `dlba key` to a node, and how often it looks at all of them before it gives up. */
export const KEY_ASK_MS = 8000;
export const KEY_ROUNDS = 8;
/** The same while a node does not answer. */
export const KEY_AWAY_ROUNDS = 2;

// A host that joins.
/** Where `dlba token` waits for it, unless told otherwise; for so many minutes, and at most. */
export const JOIN_PORT = 8474;
export const JOIN_MINUTES = 15;
export const JOIN_MOST_MINUTES = 1440;
/** Guesses at a token that end it. */
export const JOIN_TRIES = 10;
export const JOIN_SECRET_BYTES = 16;
/** What the host says of itself, what it is sent (configuration, keys, certificates), and the time for all of it. */
export const JOIN_HELLO_BYTES = 16_384;
export const JOIN_PARCEL_BYTES = 33_554_432;
export const JOIN_TIMEOUT_MS = 60_000;
/** Of files that are sent along. */
export const JOIN_FILE_BYTES = 1_048_576;
export const JOIN_FILES = 2048;

// What is held of a node.
/** A node that does not follow the bucket table for this long counts as failed. */
export const FOLLOW_GRACE_MS = 3000;
/** A failed node whose kernel lives is sent its buckets' frames for this long, while they move. */
export const FAILED_KEEPS_UP_MS = 500;

/** Pause between two looks at a node's own connections, while somebody wants to know. */
export const HELD_ROUND_MS = 1000;
/** After a takeover or a conflict every node may have connections of any bucket for at least this long. */
export const SCATTERED_LEAST_MS = 10_000;
/** A node that has lost its scheduler resets nobody's connections for this long at most. */
export const DOUBT_MOST_MS = 10_000;
/** From a version of the table to the look that counts for it. */
export const HELD_SETTLE_MS = 100;

// The bucket table between nodes, and direct pools.
/** Changes that are kept for followers that lag or were away for a moment; a power of two. */
export const FEED_LOG_CHANGES = 65_536;
/** The longest line from the sender, and from a follower (a bitmap of the largest table fits). */
export const FEED_LINE_BYTES = 65_536;
export const FOLLOWER_LINE_BYTES = 196_608;
/** Buckets in one line of a full copy, and changes in one line of a delta: both fit with room to spare. */
export const FEED_PART_BUCKETS = 8192;
export const FEED_DELTA_CHANGES = 4096;
export const FEED_REASON_CHARACTERS = 1000;
/** Bytes for one follower that the system has not taken yet; the rest waits in the feed. */
export const FEED_ROOM_BYTES = 131_072;
export const FEED_TICK_MS = 500;
/**
 * A follower that says nothing, or takes nothing of what waits for it, over this many ticks is cut off. Ticks and
 * not times, so that a stall of this process is not held against the others.
 */
export const FEED_PATIENCE_TICKS = 4;
/** Pauses between two tries: short at first, as an array's start waits for it. */
export const FEED_RETRY_MIN_MS = 20;
export const FEED_RETRY_MAX_MS = 500;
export const FEED_CONNECT_MS = 1000;
/**
 * A new scheduler is followed after this long: it needs that to open its port, and one that has claimed while it was cut
 * off may have to yield at once, which costs nobody his table then.
 */
export const FOLLOW_AFTER_MS = 60;
/** Changes that one turn proposes at most: a few milliseconds of work. */
export const STEER_CHANGES = 4096;
/** Proposals under way at most: when the others lag, there is no point in planning further. */
export const STEER_PROPOSALS = 64;
/** Marks that are kept for answers about connections that are still under way. */
export const STEER_MARKS = 64;
/** Fragments kept at once, and their bytes; more than this are thrown away, so that nobody fills the memory. */
export const HELD_FRAGMENTS = 512;
export const HELD_FRAGMENTS_BYTES = 524_288;
/** Fragments of one packet come close together; one that is alone for so long stays alone. */
export const HELD_FRAGMENT_MS = 200;
/** So much of an answer is read, so that a host can send it whole; nobody looks at it. */
export const CHECK_BODY_BYTES = 65_536;
/** The first checks don't wait for a long interval: till then no host is up. */
export const CHECK_FIRST_WITHIN_MS = 1000;

// Who answers for the VIP.
/** How long ARP and neighbour answers go on after the last renewal. */
export const LEASE_MS = 150;
/** How often the failover process looks, decides, and renews the lease. */
export const FAILOVER_TICK_MS = 5;
/** Nodes other than the scheduler are asked this often whether they live. */
export const PEER_HEARTBEAT_MS = 50;
/** When the VIP is announced after a node has become the scheduler, or against a machine outside the array. */
export const ANNOUNCE_AT_MS = [0, 10, 50, 100, 300, 1000, 3000, 10_000];
/** The same after a conflict between two nodes has ended. */
export const ANNOUNCE_AGAIN_AT_MS = [0, 10, 50, 1000, 1050, 3000];

/** Responses that one worker compresses at once. */
export const MAX_CODERS = 256;
/** What a response that is being compressed takes, as measured; counted with all that waits (limits.memory_bytes). */
export const CODER_BYTES = { gzip: 262_144, br: 942_080, zstd: 1_466_368 } as const;

// Rules of a vserver.
export const MAX_RULES_PER_VSERVER = 256;
export const MAX_RULE_CONDITIONS = 16;
export const MAX_RULE_VALUES = 256;
export const MAX_RULE_VALUE_CHARACTERS = 1024;
export const MAX_RULE_HEADERS = 32;
/** What a node counts rates of clients in: 131,072 entries. A power of two. */
export const RATE_TABLE_BYTES = 2_097_152;
/** What a node counts clients' connections in: a part for each worker, those that end what they have included, and 16 bytes an entry. */
export const CONNECTION_PARTS = 128;
export const CONNECTION_ENTRIES = 16_384;
/** Of one regular expression; the time of a match is in proportion to this and to the text's length. */
export const MAX_REGEX_CHARACTERS = 256;
/** Of all rules of a vserver together: what they may add to one head, and characters of regular expressions. */
export const MAX_RULES_HEAD_BYTES = 8192;
export const MAX_RULES_REGEX_CHARACTERS = 4096;

// A worker (per process).
/** Of a page that the proxy answers errors with. */
export const MAX_ERROR_PAGE_BYTES = 65_536;
/** Lines of the access log that wait to be written at most, and how often they are. */
export const ACCESS_LOG_BYTES = 4 << 20;
export const ACCESS_LOG_WRITE_MS = 100;
export const RECEIVE_BUFFER_BYTES = 65_536;
/** Records of a client's TLS connection that are sealed before they are written together: room for four big ones and what goes first. */
export const SEALED_BUFFER_BYTES = 73_728;
/** Records in a row that bring no data (empty ones, key updates), before a client is taken for an attacker. */
export const MAX_IDLE_RECORDS = 32;
/** Records that are opened before others have a turn, and changes of a client's key among them. */
export const MAX_RECORDS_AT_ONCE = 512;
export const MAX_KEY_CHANGES_AT_ONCE = 4;
/** Then the key changes: AES-GCM is good for 2^24.5 records (RFC 8446 5.5). */
export const RECORDS_BY_ONE_KEY = 2 ** 24;
/** Moved from one socket to another at a time. */
export const MOVED_BYTES = 131_072;
export const STAGE_BUFFER_BYTES = 262_144;
/** Clients above a worker's bound that are told that there are too many, by 503; more wait in the listen queue. */
export const SHED_CONNECTIONS = 128;
export const ACCEPTS_PER_TURN = 64;
export const EVENTS_PER_TURN = 512;
export const LISTEN_BACKLOG = 8192;
/** A peer that keeps sending after its answer is read and thrown away up to here (RFC 9112 9.6). */
export const LINGER_BYTES = 1_048_576;
export const TRAILER_BYTES = 8192;
export const CHUNK_LINE_BYTES = 256;
export const MAX_HEADER_FIELDS = 128;
/** Digits of a Content-Length and of a chunk's size: what a double counts exactly. */
export const CONTENT_LENGTH_DIGITS = 15;
export const CHUNK_SIZE_DIGITS = 13;
/** Empty lines before a request that are passed over (RFC 9112 2.2). */
export const MAX_EMPTY_LINES = 4;
/** Responses of the 1xx class to one request. */
export const MAX_INTERIM_RESPONSES = 16;
/** An application's session id that is longer is none. */
export const MAX_SESSION_ID_CHARACTERS = 256;
/** Sessions whose web server a worker remembers, by pool. */
export const MAX_LEARNED_SESSIONS = 16_384;
/** Answers of the proxy itself on one client connection; the last one closes it. */
export const MAX_OWN_ANSWERS = 16;
/** Requests of so long ago pay for no retries any more. */
export const RETRY_BUDGET_MEMORY_S = 10;
/** Tries of one request on different web servers, or anew after a reused connection had closed. */
export const MAX_TRIES = 8;

// HTTP/2.
/** Of HPACK's dynamic tables, either way. */
export const HPACK_TABLE_BYTES = 4096;
/** A request's fields as they come, coded; more of them, or in more frames, ends the connection. */
export const HTTP2_HEADER_BLOCK_BYTES = 65_536;
export const HTTP2_CONTINUATIONS = 16;
/** What a client may send ahead of what its web server has taken: on one stream, and on all of a connection. */
export const HTTP2_STREAM_WINDOW_BYTES = 65_535;
export const HTTP2_CONNECTION_WINDOW_BYTES = 1_048_576;
/** Streams that were reset or ended lately, and whose late frames are told from nonsense. */
export const HTTP2_CLOSED_STREAMS = 256;
/**
 * Frames that do no work (pings, settings, empty data, window updates) are taken on credit: so many at once, and so many
 * more a second; work adds to it. The like for streams that are reset before they are answered (CVE-2023-44487,
 * CVE-2025-8671). Who overdraws hears ENHANCE_YOUR_CALM.
 */
export const HTTP2_IDLE_FRAMES = 2000;
export const HTTP2_IDLE_FRAMES_PER_SECOND = 200;
export const HTTP2_RESETS = 400;
export const HTTP2_RESETS_PER_SECOND = 40;
/** Read from a web server for a stream whose windows have less room: before its response has begun, and after. */
export const HTTP2_FIRST_READ_BYTES = 32_768;
export const HTTP2_LEAST_READ_BYTES = 4096;
/** Records of exchanges that wait for another stream. */
export const KEPT_EXCHANGES = 4096;
/** What one connection's frames are gathered in before they are written; the largest head fits. */
export const HTTP2_OUT_BYTES = 131_072;

// Control plane.
/** One line between a daemon and the status process: a bucket table of the largest size, in base64, fits. */
export const PUBLISH_LINE_BYTES = 9_437_184;
/** A publisher that has not answered by then is shown as such. */
export const PUBLISH_ANSWER_MS = 300;
/** What workers are told of web servers: so many in a line of at most so many bytes, and again after so long. */
export const ORDERS_PER_LINE = 64;
export const ORDERS_LINE_BYTES = 131_072;
export const ORDERS_RETRY_MS = 500;
/** Of what a health check complains of, told to workers and shown in tables. */
export const COMPLAINT_CHARACTERS = 160;
/** The longest pause before a daemon tries to reach the status process again. */
export const PUBLISH_RETRY_MAX_MS = 1000;
/** A node has no more publishers than this: the workers of two generations and the other processes. */
export const PUBLISHERS = 1024;
export const MONITOR_COMMAND_BYTES = 4096;
export const MONITOR_CONNECTIONS = 64;
/** Dumps of the whole bucket table at once: each holds a copy of its own, 7 MiB of the largest table. */
export const BUCKET_DUMPS = 8;
/** Lines of a process's log that wait while they can't be written; more are lost. */
export const LOG_WAITING_BYTES = 65_536;
/** How often a node compares the time of day with how long it has run, and what it takes for a jump. */
export const CLOCK_LOOK_MS = 1000;
export const CLOCK_JUMP_MS = 2000;
/** Events that are kept of a node, of a process while the status process is away, and what one may hold. */
export const EVENTS_KEPT = 1000;
export const EVENTS_WAITING = 64;
export const EVENT_FACTS = 12;
export const EVENT_TEXT_CHARACTERS = 500;
/** Client connections that a worker tells of at once. */
export const SESSIONS_PER_WORKER = 500;
/** A monitoring connection that says nothing for this long is closed. */
export const MONITOR_IDLE_MS = 60_000;
/** A monitoring connection may ask to be kept for this long at most (`set timeout cli`). */
export const MONITOR_IDLE_MOST_MS = 3_600_000;
/** All of an answer must have been read by then. */
export const MONITOR_ANSWER_MS = 60_000;
/** What `dlba doctor` tries to reach of each kind, and for how long. */
export const DOCTOR_PROBES = 256;
export const DOCTOR_CONNECT_MS = 1000;
/** Certificates whose end is watched, and web servers that have metrics. */
export const WATCHED_CERTIFICATES = 1024;
export const METRICS_WEB_SERVERS = 2048;
/** Connections to the metrics' port, their heads, and the time of one exchange or silence. */
export const METRICS_CONNECTIONS = 16;
export const METRICS_HEAD_BYTES = 8192;
export const METRICS_TIMEOUT_MS = 10_000;
/** Of a token that clients of the dashboard or of the monitoring socket over TCP say. */
export const TOKEN_LEAST_CHARACTERS = 16;
export const TOKEN_MOST_CHARACTERS = 256;
/** Who has connected over TCP has to have said its token by then; how often certificates are looked at for such clients. */
export const ADMISSION_MS = 5000;
export const SERVED_FILES_LOOK_MS = 60_000;
/** Spans that a worker keeps until they are fetched, and of the path in one. */
export const SPANS_KEPT = 512;
export const SPAN_PATH_CHARACTERS = 256;
/** How often traces are sent, so many spans at once, how long that may take, and how many wait meanwhile. */
export const TRACES_EVERY_MS = 1000;
export const TRACES_BATCH = 1024;
export const TRACES_TIMEOUT_MS = 5000;
export const TRACES_WAITING = 4096;
/** Connections to the dashboard's port, and those of them that are told what happens all the time. */
export const DASHBOARD_CONNECTIONS = 64;
export const DASHBOARD_STREAMS = 16;
/** Between two pictures of the array, and of one with many nodes; who takes nothing for this many is cut off. */
export const DASHBOARD_TICK_MS = 1000;
export const DASHBOARD_SLOW_TICK_MS = 2000;
export const DASHBOARD_MANY_NODES = 16;
export const DASHBOARD_PATIENCE_TICKS = 20;
/** So much may wait for a watcher; until it has been taken, pictures are left out. */
export const DASHBOARD_WAITING_BYTES = 262_144;
/** What a node tells of itself at most: the rest is counted. */
export const SLICE_VSERVERS = 256;
export const SLICE_WEB_SERVERS = 512;
export const SLICE_EVENTS = 100;
/** Cells of the bucket map: a larger table shows what most buckets of a stretch are. */
export const MAP_CELLS = 65_536;
/** Changes of the map that are told one by one; more of them, and the whole map is. */
export const MAP_CHANGES = 8192;
export const RESTART_BACKOFF_MIN_MS = 100;
export const RESTART_BACKOFF_MAX_MS = 10_000;
/** One request line between nodes, how long one exchange may take on the answering side, and how many at once. */
export const CONTROL_REQUEST_BYTES = 256;
export const CONTROL_TIMEOUT_MS = 5000;
export const CONTROL_CONNECTIONS = 64;

// Pushed configurations.
/** Versions whose text a node keeps, and their bytes: the oldest go first. */
export const KEPT_VERSIONS = 50;
export const KEPT_VERSIONS_BYTES = 67_108_864;
export const MAX_VERSION_NUMBER = 999_999_999;
/** One line between a pushing command and a node: the largest configuration, in base64, fits. */
export const PUSH_LINE_BYTES = 6_291_456;
/** Questions about versions that a node answers at once. */
export const PUSH_CONNECTIONS = 16;
/** For a question that needs no work; for one for which a node reads files and tries ports. */
export const PUSH_ASK_MS = 3000;
export const PUSH_STAGE_MS = 30_000;
/** A node that has promised one push waits for it alone, until it has said nothing for so long. */
export const PUSH_LEASE_MS = 10_000;
/** A node that lags behind has this long to catch up before a push goes on without it. */
export const PUSH_CATCH_UP_MS = 5000;
/** Someone has to answer for a push: so often a majority is asked before it is said that nobody knows. */
export const PUSH_ACCEPT_TRIES = 5;
/** After a commit all nodes have this long to run it before the command stops waiting for them. */
export const PUSH_APPLY_MS = 60_000;
/** How often a node compares its version with the others', and how many of them it asks at a time. */
export const PUSH_COMPARE_MS = 2000;
export const PUSH_COMPARE_NODES = 8;
/** At its start a node waits this long for others to tell of a later version. */
export const PUSH_START_MS = 500;
/** A version that can't be taken is tried again, after pauses that double up to this. */
export const PUSH_RETRY_MIN_MS = 1000;
export const PUSH_RETRY_MAX_MS = 60_000;
/** Findings of one node about a version, and the characters of one. */
export const PUSH_FINDINGS = 100;
export const PUSH_FINDING_CHARACTERS = 2000;
/** Web servers that a node tries to connect for a version, and the longest window of `--watch`. */
export const PUSH_PROBES = 64;
export const PUSH_WATCH_MOST_S = 3600;

/** Pause between two questions for the MAC addresses that are not known yet. */
export const NEIGHBOUR_RETRY_MS = 200;
/** A process that ran this long before it ended is started again after the shortest pause. */
export const RESTART_STABLE_MS = 10_000;
/** How long a process has to end after SIGTERM (a worker: its drain time on top) before it is killed. */
export const STOP_GRACE_MS = 2000;
/** A process that is to succeed another one must be ready by then, and may be started so often. */
export const SUCCESSOR_READY_MS = 30_000;
export const SUCCESSOR_TRIES = 3;
/** Each step of a node's going over to another version, and all of it together, for who asked. */
export const UPGRADE_STEP_MS = 100_000;
export const UPGRADE_ANSWER_MS = 400_000;
/** Places that a node offers to its successor, and a message between the two. */
export const UPGRADE_PLACES = 4096;
/** Processes of one name that end what they have after reloads; the oldest is stopped when there is one more. */
export const MAX_RETIRING = 8;
/** A reload has been answered by then, whoever has many workers. */
export const RELOAD_ANSWER_MS = 600_000;
/** How often certificate files are looked at; what has changed is taken when it is the same at the next look. */
export const CERTIFICATE_LOOK_MS = 2000;
/** For how long session tickets are made with the same key; those before and after it read them, too. Longer than a ticket lasts. */
export const TICKET_PERIOD_MS = 43_200_000;

// A rehearsal on one machine: each node takes some 300 MB, each web server 50.
export const MAX_REHEARSED_NODES = 16;
export const MAX_REHEARSED_MACHINES = 64;
