import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bestCoding, CODINGS } from "../../../dlba-server/http/content-coding.ts";

describe("the coding that a client likes best", () => {
  const rows: [accepted: string, coding: string][] = [
    ["", ""],
    ["gzip", "gzip"],
    ["gzip, deflate, br, zstd", "zstd"],
    ["gzip, deflate, br", "br"],
    ["GZip;Q=0.5, BR;q=0.1", "gzip"],
    ["x-gzip", "gzip"],
    ["gzip;q=0", ""],
    ["gzip;q=0.001", "gzip"],
    ["*", "zstd"],
    ["*;q=0", ""],
    ["zstd;q=0, *", "br"],
    ["br;q=0.9, gzip;q=1.0, *;q=0.5", "gzip"],
    ["identity", ""],
    ["identity;q=1, gzip;q=0.5", ""],
    ["identity;q=0.5, gzip;q=0.5", "gzip"],
    ["identity;q=0", ""],
    ["gzip;q=2", ""],
    ["gzip;q=0.1234", ""],
    ["gzip;level=9", ""],
    ["gzip;q=, br", "br"],
    ["deflate, compress", ""],
    [" , ,gzip\t;\tq=1 ,", "gzip"],
    ["gzip;q=0, gzip;q=1", ""],
    ["brotli, gzipped", ""],
  ];
  for (const [accepted, coding] of rows) {
    it(JSON.stringify(accepted), () => assert.equal(bestCoding(accepted, CODINGS), coding));
  }

  it("is the vserver's first one of equals, and none that it hasn't", () => {
    assert.equal(bestCoding("gzip, br, zstd", ["gzip", "br"]), "gzip");
    assert.equal(bestCoding("zstd", ["gzip", "br"]), "");
  });
});
