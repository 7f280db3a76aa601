/**
 * Every row of the corpus gets the treatment that it states: over sockets, with a raw web server behind, and in the session
 * alone with its bytes cut in two at every place.
 */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { requestRows, responseRows, type RequestRow, type ResponseRow } from "./corpus.ts";
import { treatInSession } from "./in-session.ts";
import { readByLlhttp } from "./llhttp-reader.ts";
import { readRequests } from "./strict-reader.ts";
import { treatAll, type Treatment } from "./wire.ts";

function checkRequest(row: RequestRow, treatment: Treatment): void {
  assert.deepEqual(treatment.answers, row.answers);
  assert.equal(treatment.isCut, false);
  if (row.goes_on === "as it came") assert.equal(treatment.goesOn.join(""), row.request);
  else assert.deepEqual(treatment.goesOn, row.goes_on);
  for (const request of treatment.goesOn) checkUnambiguous(request);
}

/** Two readers that know nothing of each other see one and the same request. */
function checkUnambiguous(request: string): void {
  const { messages, rest } = readRequests(request.replace("<address>", "h"));
  assert.deepEqual([messages.length, rest], [1, ""], request);
  const { bodies, error } = readByLlhttp(request);
  if (error === "HPE_INVALID_METHOD") return; // It knows a fixed list of methods.
  assert.equal(error, "", request);
  assert.equal(bodies.length, 1, request);
}

function checkResponse(row: ResponseRow, treatment: Treatment): void {
  assert.deepEqual(treatment.answers, row.answers);
  assert.equal(treatment.isCut, row.cut === true);
  if (row.relayed !== undefined) assert.equal(treatment.said, row.relayed);
  assert.equal(treatment.isKept, row.kept, "whether the web server's connection serves on");
}

function stated<Row>(treatments: ReadonlyMap<Row, Treatment | Error>, row: Row): Treatment {
  const treatment = treatments.get(row)!;
  if (treatment instanceof Error) throw treatment;
  return treatment;
}

describe("over sockets", () => {
  describe("requests", () => {
    const rows = [...requestRows.values()].flat();
    let treatments: ReadonlyMap<RequestRow, Treatment | Error>;
    before(async () => (treatments = await treatAll(rows)));
    for (const row of rows) {
      it(`${row.name} [${row.source}]`, () => {
        const treatment = stated(treatments, row);
        checkRequest(row, treatment);
        if (row.breaks_off !== true) assert.equal(treatment.breaksOff, false);
      });
    }
  });

  describe("responses", () => {
    let treatments: ReadonlyMap<ResponseRow, Treatment | Error>;
    before(async () => (treatments = await treatAll(responseRows)));
    for (const row of responseRows) {
      it(`${row.name} [${row.source}]`, () => checkResponse(row, stated(treatments, row)));
    }
  });
});

/** At the ends of long bytes each place, in the middle of one byte over and over some. */
function* places(bytes: string): Generator<number> {
  const isNear = (at: number): boolean =>
    at < 300 || at > bytes.length - 100 || (at > 2040 && at < 2060) || (at > 8180 && at < 8200);
  for (let at = 1; at < bytes.length; at++) if (isNear(at) || at % 97 === 0) yield at;
}

describe("in a session, however the bytes are cut", () => {
  for (const [file, rows] of requestRows) {
    it(`${file}: the treatment is the one stated`, () => {
      for (const row of rows) {
        const whole = treatInSession(row, { request: 0, response: 0 });
        checkRequest(row, whole);
        assert.equal(whole.breaksOff, row.breaks_off === true, row.name);
        for (const at of places(row.request)) {
          const cut = treatInSession(row, { request: at, response: 0 });
          assert.deepEqual(cut, whole, `${row.name}, cut at ${at}`);
        }
      }
    });
  }

  it("responses: the treatment is the one stated", () => {
    for (const row of responseRows) {
      const whole = treatInSession(row, { request: 0, response: 0 });
      checkResponse(row, whole);
      for (const at of places(row.response)) {
        const cut = treatInSession(row, { request: 0, response: at });
        // Whether bytes behind a response come with it or later is the business of the idle connection's guard.
        assert.deepEqual({ ...cut, isKept: whole.isKept }, whole, `${row.name}, cut at ${at}`);
      }
    }
  });

  it("there are at least 300 rows, each name once in its file, each with its source", () => {
    const all = [...requestRows.values(), responseRows];
    assert.ok(all.flat().length >= 300, `${all.flat().length} rows`);
    for (const rows of all) {
      assert.equal(new Set(rows.map(({ name }) => name)).size, rows.length);
      for (const { source } of rows) assert.match(source, /RFC \d+|CVE-\d+|\d{4}/);
    }
  });
});
