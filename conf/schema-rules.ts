/** The schema of what happens to a vserver's requests and responses: rules, compression. */
import { z } from "zod";
import * as limits from "./limits.ts";
import { cidr, name, path, patternText } from "./schema-text.ts";

/** Visible ASCII, spaces and tabs: no line can be broken with it. */
const headerValue = patternText(
  new RegExp(`^[\\t -~]{0,${limits.MAX_RULE_VALUE_CHARACTERS}}$`),
  `a header's value of visible ASCII, spaces and tabs (${limits.MAX_RULE_VALUE_CHARACTERS} characters at most)`,
);
const headerName = patternText(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/, "a header's name such as X-Debug");
const hostText = patternText(
  /^([A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$/,
  "a host such as api.example.org, with a port or without",
);
const matched = z.string().max(limits.MAX_RULE_VALUE_CHARACTERS);
const values = z.array(matched).min(1).max(limits.MAX_RULE_VALUES).optional();

const condition = z.strictObject({
  of: z
    .enum(["host", "path", "method", "header", "query", "client"])
    .describe(
      "What is looked at: the host without port, in lower case; the path in normal form; the method; a header; a parameter of the query; the client's address.",
    ),
  name: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe("The header's or the query parameter's name; needed for these, and only there."),
  exact: values.describe("It is one of these. With several keys, one that fits is enough."),
  prefix: values.describe("It begins with one of these."),
  suffix: values.describe("It ends with one of these."),
  regex: values.describe(
    "One of these is found in it (anchor it with ^ and $): as in JavaScript, with . for any byte, without back-references and look-around, in linear time.",
  ),
  in: z
    .array(cidr)
    .min(1)
    .max(1024)
    .optional()
    .describe("For client, and needed there: its address lies in one of these blocks."),
  not: z.boolean().default(false).describe("Turns the condition into its contrary."),
});

const headerLine = z.strictObject({
  name: headerName.describe("The header's name."),
  value: headerValue.describe("Its value, as it is."),
});
const lines = z.array(headerLine).max(limits.MAX_RULE_HEADERS).default([]);
const headerEdits = z.strictObject({
  remove: z
    .array(headerName)
    .max(limits.MAX_RULE_HEADERS)
    .default([])
    .describe("First these are taken out, also where they are spelled with _ for -."),
  set: lines.describe("Then these take the place of what was there."),
  add: lines.describe("Then these are added to what is there."),
});

const rule = z.strictObject({
  when: z
    .array(condition)
    .max(limits.MAX_RULE_CONDITIONS)
    .default([])
    .describe("What must hold, all of it, of the request as it came; empty: always."),
  rate_limit: z
    .strictObject({
      requests: z.int().min(1).max(1_000_000).describe("So many requests of one client …"),
      per_s: z.int().min(1).max(86_400).describe("… in so many seconds; more get 429 and a Retry-After."),
    })
    .optional()
    .describe(
      "How often one client (an IPv4 address, a /64 of IPv6) may get to this rule. Counted on each node by itself.",
    ),
  deny: z
    .strictObject({
      status: z.literal([400, 403, 404, 405, 410, 421, 429, 451, 503]).default(403).describe("The answer."),
      page: path
        .optional()
        .describe("HTML in UTF-8, 64 KiB at most; else the vserver's page for the status."),
    })
    .optional()
    .describe("Answers the request, and ends the rules."),
  redirect: z
    .strictObject({
      status: z.literal([301, 302, 303, 307, 308]).default(302).describe("The answer."),
      to: patternText(
        /^[!-~]{1,1024}$/,
        "a URL or an absolute path of visible ASCII, such as https://{host}{path}{query}",
      ).describe(
        "Where to: {host} is the request's host without port, {path} its path, {query} its query with the question mark, all as they came.",
      ),
    })
    .optional()
    .describe("Sends the client elsewhere, and ends the rules."),
  pool: name
    .optional()
    .describe("Gives the request to this pool instead of the vserver's, and ends the rules."),
  rewrite: z
    .strictObject({
      prefix: matched.optional().describe("What the path begins with, in normal form; it is replaced."),
      regex: matched
        .optional()
        .describe("What is found in the path, in normal form; the first find is replaced."),
      to: patternText(/^\/[!-~]{0,255}$/, "a path such as /v2/")
        .optional()
        .describe("What takes the place; with regex, $1 to $9 are its groups, $0 is all of it."),
      host: hostText.optional().describe("What the web server gets as Host."),
    })
    .optional()
    .describe("What web servers are asked for instead; the query stays as it is."),
  request_headers: headerEdits.optional().describe("Changes of what web servers get."),
  response_headers: headerEdits
    .optional()
    .describe("Changes of what clients get, from web servers or as the proxy's own answer."),
});

export const rules = z
  .array(rule)
  .max(limits.MAX_RULES_PER_VSERVER)
  .default([])
  .describe(
    "For http and https: looked at in order for each request; the first that holds and has deny, redirect or pool decides, the changes of those before it add up.",
  );

export const compression = z
  .strictObject({
    algorithms: z
      .array(z.enum(["zstd", "br", "gzip"]))
      .min(1)
      .max(3)
      .default(["zstd", "br", "gzip"])
      .describe("Which ones; of those that a client likes alike the first one here is taken."),
    types: z
      .array(
        patternText(
          /^[a-z0-9.+-]{1,64}\/(\*|[a-z0-9.+-]{1,64})$/,
          "a media type such as text/html or text/*",
        ),
      )
      .min(1)
      .max(256)
      .default([
        "text/*",
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/wasm",
        "application/xml",
        "application/xhtml+xml",
        "application/rss+xml",
        "application/atom+xml",
        "image/svg+xml",
      ])
      .describe("Media types that are worth it; text/* is all of a kind."),
    min_bytes: z
      .int()
      .min(0)
      .max(1_048_576)
      .default(1024)
      .describe("Responses that say that they are shorter go as they are."),
  })
  .optional()
  .describe(
    "Only http and https: responses are compressed for clients that accept it, if web servers haven't done so. Left out: never.",
  );

export type RuleConfig = z.output<typeof rules>[number];
export type ConditionConfig = RuleConfig["when"][number];
export type HeaderEditsConfig = NonNullable<RuleConfig["request_headers"]>;
/** As they may stand in the file: what has a default may be left out. */
export type RuleInput = NonNullable<z.input<typeof rules>>[number];
export type ConditionInput = NonNullable<RuleInput["when"]>[number];
