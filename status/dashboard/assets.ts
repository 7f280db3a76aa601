/**
 * The files of the dashboard's page, all of them our own: read once, with the types taken out of its TypeScript (by Node itself), and
 * compressed once.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire, stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

export interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly gzipped: Buffer;
  readonly etag: string;
}

const PAGE = join(import.meta.dirname, "page");
const MODULES = [
  "main",
  "bucket-map",
  "charts",
  "colours",
  "elements",
  "frames",
  "sign-in",
  "stream",
  "tables",
  "theme",
];
const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  script: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
} as const;

const page = (name: string): Buffer => readFileSync(join(PAGE, name));

/** All files, by the path that they are asked for. */
export function pageAssets(): ReadonlyMap<string, Asset> {
  const { resolve } = createRequire(import.meta.url);
  return new Map([
    ["/", asset(TYPES.html, page("index.html"))],
    ["/style.css", asset(TYPES.css, page("style.css"))],
    ["/icon.svg", asset(TYPES.svg, page("icon.svg"))],
    ...MODULES.map((name): [string, Asset] => [
      `/${name}.ts`,
      asset(TYPES.script, Buffer.from(withoutTypes(page(`${name}.ts`).toString("utf8")))),
    ]),
    ["/uplot.js", asset(TYPES.script, readFileSync(resolve("uplot/dist/uPlot.esm.js")))],
    ["/uplot.css", asset(TYPES.css, readFileSync(resolve("uplot/dist/uPlot.min.css")))],
  ]);
}

function asset(type: string, body: Buffer): Asset {
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { type, body, gzipped: gzipSync(body), etag };
}

/** Node says once that this is experimental. Our Node is pinned, and a line that is no JSON would spoil the log. */
function withoutTypes(source: string): string {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}
