/** All fuzz targets. */
import { chunks } from "./targets/chunks.ts";
import { cookies } from "./targets/cookies.ts";
import { requestHead, responseHead } from "./targets/heads.ts";
import { hosts } from "./targets/hosts.ts";
import { hpack, http2 } from "./targets/http2.ts";
import { paths } from "./targets/paths.ts";
import { proxyHeader } from "./targets/proxy-header.ts";
import { rules } from "./targets/rules.ts";
import { session } from "./targets/session.ts";
import type { Target } from "./target.ts";

export const TARGETS: readonly Target[] = [
  requestHead,
  responseHead,
  chunks,
  session,
  proxyHeader,
  cookies,
  hosts,
  http2,
  hpack,
  paths,
  rules,
];

export function targetCalled(name: string): Target {
  const target = TARGETS.find((one) => one.name === name);
  if (target === undefined)
    throw new Error(`there is no target ${name}; there are ${TARGETS.map((one) => one.name).join(", ")}`);
  return target;
}
