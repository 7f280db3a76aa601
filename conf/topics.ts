/** The tables that the monitoring socket and `dlba show` know. */
export const TOPICS = [
  "nodes",
  "buckets",
  "vservers",
  "web",
  "summary",
  "info",
  "errors",
  "stat",
  "servers",
  "sess",
  "events",
] as const;
export type ShowTopic = (typeof TOPICS)[number];
