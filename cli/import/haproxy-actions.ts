/** What HAProxy's rules do, as what ours do: denying, redirecting, changing headers. Pure. */
import type { RuleInput } from "../../conf/schema-rules.ts";
import type { NoteKind } from "./notes.ts";

/** A rule without its conditions, or what there is to say instead or besides. */
export interface Action {
  readonly rule?: RuleInput;
  readonly note?: { readonly kind: NoteKind; readonly say: string };
  /** Doing it twice is not the same as doing it once. */
  readonly adds?: boolean;
}

const leftOut = (say: string): Action => ({ note: { kind: "left-out", say } });
const notNeeded = (say: string): Action => ({ note: { kind: "not-needed", say } });

const DENY = [400, 403, 404, 405, 410, 421, 429, 451, 503] as const;
const REDIRECT = [301, 302, 303, 307, 308] as const;

/** `http-request …` or `http-response …`, without its condition. */
export function actionOf([keyword = "", action = "", ...rest]: readonly string[]): Action {
  const isRequest = keyword === "http-request";
  switch (action) {
    case "deny":
    case "tarpit":
      return isRequest ? denied(rest, action) : leftOut(CANT_DECIDE);
    case "reject":
    case "silent-drop":
      if (!isRequest) return leftOut(CANT_DECIDE);
      return { rule: { deny: {} }, note: { kind: "differs", say: "it is answered with 403" } };
    case "allow":
      return leftOut(
        "no rule ends the rules without deciding: give those behind it the contrary as a condition",
      );
    case "redirect":
      return isRequest ? redirectOf(rest) : leftOut(CANT_DECIDE);
    case "set-header":
    case "add-header":
      return edited(isRequest, action === "add-header", rest);
    case "del-header":
      return removed(isRequest, rest);
    case "set-path":
    case "set-uri":
    case "replace-path":
    case "replace-uri":
    case "replace-header":
    case "replace-value":
      return leftOut("write a rule with rewrite (paths) or with request_headers");
    case "return":
      return leftOut(
        "rules answer with deny (and a page) or redirect alone; let a web server answer the rest",
      );
    case "auth":
      return leftOut("passwords are the application's to ask for");
    case "set-log-level":
    case "capture":
      return leftOut(
        "the access log has the same for all requests (access_log); vservers[].access_log turns it off",
      );
    case "cache-use":
    case "cache-store":
      return leftOut("responses are not cached: put caches behind, as a pool with scheduling: url-hash");
    default:
      if (/^(track-sc|sc-)/.test(action)) return leftOut("use a rule with rate_limit");
      return leftOut(`'${keyword} ${action}' has no counterpart`);
  }
}

const CANT_DECIDE = "what comes from web servers is not judged";

function denied(words: readonly string[], action: string): Action {
  const at = words.findIndex((word) => word === "deny_status" || word === "status");
  const status = at === -1 ? (action === "tarpit" ? 500 : 403) : Number(words[at + 1]);
  const known = DENY.find((each) => each === status);
  if (known === undefined) {
    const say = `it is answered with 403: rules deny with ${DENY.join(", ")} alone`;
    return { rule: { deny: {} }, note: { kind: "differs", say } };
  }
  const rest = at === -1 ? words : words.toSpliced(at, 2);
  const rule = { deny: { status: known } };
  if (rest.length === 0) return { rule };
  const say = `what is answered besides the status is left out (${rest[0]}): give the rule a page`;
  return { rule, note: { kind: "differs", say } };
}

/** `redirect …`, without its condition. */
export function redirectOf(words: readonly string[]): Action {
  const [kind = "", target = "", ...options] = words;
  const text = plainTarget(target);
  if (text === undefined)
    return leftOut("its target is made of more than host, path and query: write a rule with redirect");
  const to = targetOf(kind, text);
  if (to === undefined) return leftOut(`'redirect ${kind}' has no counterpart`);
  const at = options.indexOf("code");
  const code = at === -1 ? 302 : Number(options[at + 1]);
  const status = REDIRECT.find((each) => each === code);
  if (status === undefined) return leftOut(`rules redirect with ${REDIRECT.join(", ")} alone`);
  const isDropped = options.includes("drop-query");
  const rule = { redirect: { status, to: isDropped ? to.replace("{query}", "") : to } };
  const more = (at === -1 ? options : options.toSpliced(at, 2)).filter((word) => word !== "drop-query");
  if (more.length === 0) return { rule };
  return { rule, note: { kind: "differs", say: `${more.join(" ")} is left out` } };
}

function targetOf(kind: string, target: string): string | undefined {
  switch (kind) {
    case "scheme":
      return `${target}://{host}{path}{query}`;
    case "prefix":
      // "/" means the very same place, and a Location of ours begins with a scheme or with a slash.
      return target === "/" ? undefined : `${target}{path}{query}`;
    case "location":
      return target;
    default:
      return undefined;
  }
}

const PARTS: readonly (readonly [RegExp, string])[] = [
  [/%\[(?:req\.)?hdr\(host\)(?:,lower)?\]/gi, "{host}"],
  [/%\[(?:capture\.req\.uri|url)\]|%HU/g, "{path}{query}"],
  [/%\[path\]|%HP/g, "{path}"],
  [/\?%\[query\]|%HQ/g, "{query}"],
];

/** A log-format text of which nothing is left to be worked out; undefined when there is. */
function plainTarget(target: string): string | undefined {
  let text = target;
  for (const [pattern, part] of PARTS) text = text.replaceAll(pattern, part);
  return plainText(text);
}

function plainText(text: string): string | undefined {
  return /%(?!%)/.test(text.replaceAll("%%", "")) ? undefined : text.replaceAll("%%", "%");
}

function edited(
  isRequest: boolean,
  isAdded: boolean,
  [name = "", format = "", ...more]: readonly string[],
): Action {
  if (more.length > 0) return leftOut(`'${more[0]}' has no counterpart`);
  const lower = name.toLowerCase();
  if (isRequest && lower.startsWith("x-forwarded-")) {
    if (/-(for|proto|host)$/.test(lower))
      return notNeeded("the proxy itself tells web servers X-Forwarded-For, -Proto and -Host, and Forwarded");
    return leftOut(
      "headers named X-Forwarded-… are the proxy's: name it otherwise, and the application reads that",
    );
  }
  const value = plainText(format);
  if (value === undefined) return leftOut(dynamicAdvice(isRequest, format));
  if (isRequest && lower === "host") return { rule: { rewrite: { host: value } } };
  const line = { name, value };
  const edits = isAdded ? { add: [line] } : { set: [line] };
  return { rule: isRequest ? { request_headers: edits } : { response_headers: edits }, adds: isAdded };
}

function dynamicAdvice(isRequest: boolean, format: string): string {
  if (isRequest && /%\[src\]|%ci/.test(format))
    return "values are texts as they stand: web servers have the client's address in X-Forwarded-For";
  if (isRequest && /%\[(uuid|unique-id|rand)|%ID/.test(format))
    return "values are texts as they stand: vservers[].request_id tells web servers an X-Request-Id";
  return "values are texts as they stand, and this one is worked out for each request";
}

function removed(isRequest: boolean, [name = "", ...more]: readonly string[]): Action {
  if (more.length > 0) return leftOut("headers are removed by their whole names alone");
  if (isRequest && name.toLowerCase().startsWith("x-forwarded-"))
    return notNeeded(
      "what clients claim in X-Forwarded-… never reaches web servers, but from trusted_proxies",
    );
  const edits = { remove: [name] };
  return { rule: isRequest ? { request_headers: edits } : { response_headers: edits } };
}
