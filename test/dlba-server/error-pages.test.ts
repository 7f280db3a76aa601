/** Pages that operators give for the proxy's own answers. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { arrayKeyOf } from "../../conf/keys.ts";
import { MAX_ERROR_PAGE_BYTES } from "../../conf/limits.ts";
import { configSchema } from "../../conf/schema.ts";
import { OWN_STATUSES } from "../../dlba-server/http/answers.ts";
import { createServices } from "../../dlba-server/vservers.ts";

function configOf(error_pages: readonly { status: number; file: string }[]) {
  return configSchema.safeParse({
    array: { name: "a", key_file: "unused" },
    nodes: [{ number: 1, name: "n", address: "192.0.2.1", interface: "lo" }],
    vservers: [{ name: "v", vips: ["192.0.2.2"], ports: [80], protocol: "http", pool: "p", error_pages }],
    pools: [{ name: "p", servers: [{ id: "w", address: "192.0.2.3" }] }],
  });
}

test("every status that the proxy answers with may have a page, and no other", () => {
  for (let status = 100; status < 600; status++) {
    const { success } = configOf([{ status, file: "/x.html" }]);
    assert.equal(success, OWN_STATUSES.includes(status), String(status));
  }
});

test("a page that is not there, or too large, is an error that names it", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "dlba-pages-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "503.html");
  const services = () => {
    const config = configOf([{ status: 503, file }]).data!;
    return createServices(config, config.nodes[0]!, arrayKeyOf(Buffer.alloc(32, 1)));
  };
  assert.throws(services, { code: "ERROR_PAGE", message: new RegExp(file) });
  writeFileSync(file, "x".repeat(MAX_ERROR_PAGE_BYTES + 1));
  assert.throws(services, { code: "ERROR_PAGE", message: /more than 65536 bytes/ });
  writeFileSync(file, "gr\u00fc\u00df");
  assert.equal(services().vservers[0]!.runtime.errorPages.get(503), "gr\u00c3\u00bc\u00c3\u009f");
});
