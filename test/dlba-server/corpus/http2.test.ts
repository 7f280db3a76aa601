/** HTTP/2 requests, good and made to be read in two ways behind the proxy: what reaches a raw web server is what is stated. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { before, describe, it } from "node:test";
import { rawServer, startRig } from "../engine/rig.ts";
import { asStatedRequest, CORPUS_LIMITS } from "./corpus.ts";
import { askOverHttp2, http2Rows, type Http2Row } from "./http2-rows.ts";
import { readByLlhttp } from "./llhttp-reader.ts";
import { readRequests } from "./strict-reader.ts";
import { createLane } from "./wire.ts";

interface Treatment {
  readonly answer: number | string;
  readonly goesOn: readonly string[];
  readonly breaksOff: boolean;
}
const treatments = new Map<Http2Row, Treatment | Error>();
const LANES = 16;

async function treat(lane: ReturnType<typeof createLane>, port: number, row: Http2Row): Promise<Treatment> {
  const answer = await askOverHttp2(port, row);
  const { requests, breaksOff } = await lane.heard();
  // Somebody else's request comes through as it should.
  await lane.probe(port);
  return { answer, goesOn: requests.map(asStatedRequest), breaksOff };
}

before(async () => {
  const lanes = Array.from({ length: LANES }, createLane);
  const servers = await Promise.all(lanes.map(async ({ onConnection }) => await rawServer(onConnection)));
  const ports = servers.map(({ port }) => port);
  const rig = await startRig({ serverPorts: [ports[0]!], lanes: ports, limits: CORPUS_LIMITS });
  const waiting = http2Rows.values();
  const goThrough = async (lane: (typeof lanes)[number], port: number): Promise<void> => {
    // A connection to the web server is there from the first row on.
    await lane.probe(port);
    for (const row of waiting) {
      const treatment = await treat(lane, port, row).catch((error: unknown) => error as Error);
      treatments.set(row, treatment);
    }
  };
  await Promise.all(lanes.map(async (lane, i) => await goThrough(lane, rig.lanePorts[i]!)));
  await rig.stop();
  for (const lane of lanes) lane.close();
  for (const { server } of servers) {
    server.close();
    await once(server, "close");
  }
});

/** Two readers that know nothing of each other see one and the same request. */
function checkUnambiguous(request: string): void {
  const { messages, rest } = readRequests(request);
  assert.deepEqual([messages.length, rest], [1, ""], request);
  const { bodies, error } = readByLlhttp(request);
  if (error === "HPE_INVALID_METHOD") return; // It knows a fixed list of methods.
  assert.deepEqual([bodies.length, error], [1, ""], request);
}

describe("requests over HTTP/2", () => {
  for (const row of http2Rows) {
    it(`${row.name} [${row.source}]`, () => {
      const treatment = treatments.get(row)!;
      if (treatment instanceof Error) throw treatment;
      const { answer, goesOn, breaksOff } = treatment;
      const stated = row.goes_on === undefined ? [] : [row.goes_on];
      assert.deepEqual({ answer, goesOn }, { answer: row.answer, goesOn: stated });
      assert.equal(breaksOff, row.breaks_off === true);
      for (const request of goesOn) checkUnambiguous(request);
    });
  }

  it("each row has a name of its own, and says where it is from", () => {
    assert.equal(new Set(http2Rows.map(({ name }) => name)).size, http2Rows.length);
    for (const { source } of http2Rows) assert.match(source, /RFC \d+|CVE-\d+|\d{4}/);
  });
});
