/** The injected cookie in all spellings: whom it is believed, and that no web server sees it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cookieValue, withoutCookie } from "../../../dlba-server/http/cookie.ts";

const KNOWN = new Map([["good", 0]]);

const rows: [field: string, value: string | undefined, rest: string][] = [
  ["DLBA=good", "good", ""],
  ["DLBA=good;", "good", ""],
  ["DLBA=good; ", "good", ""],
  ["a=1; DLBA=good", "good", "a=1"],
  ["DLBA=good; a=1", "good", "a=1"],
  ["a=1; DLBA=good; b=2", "good", "a=1; b=2"],
  ["a=1;DLBA=good;b=2", "good", "a=1;b=2"],
  ["a=1;\tDLBA=good\t; b=2", "good", "a=1; b=2"],
  ["DLBA=", "", ""],
  // Several: the one that names a web server is believed, whatever stands before it.
  ["DLBA=old; DLBA=good", "good", ""],
  ["DLBA=; a=1; DLBA=good; DLBA=other", "good", "a=1"],
  ["DLBA=old; DLBA=older", "old", ""],
  // Some readers take these for the cookie: nobody believes them, and nobody sees them.
  ["DLBA =good; a=1", undefined, "a=1"],
  ["DLBA\t=good", undefined, ""],
  ["a=1; DLBA", undefined, "a=1"],
  ["DLBA ; a=1", undefined, "a=1"],
  ["DLBA = good; DLBA=good", "good", ""],
  // These are none.
  ["XDLBA=good", undefined, "XDLBA=good"],
  ["DLBAX=good", undefined, "DLBAX=good"],
  ["dlba=good", undefined, "dlba=good"],
  ["a=DLBA=good", undefined, "a=DLBA=good"],
  ["a=1, DLBA=good", undefined, "a=1, DLBA=good"],
  ['a="DLBA"', undefined, 'a="DLBA"'],
  ["\xa0DLBA=good", undefined, "\xa0DLBA=good"],
  ["", undefined, ""],
  ["; ;", undefined, "; ;"],
  // Others stay byte for byte.
  [" a=1 ;  b=2; DLBA=good;;c", "good", " a=1 ;  b=2;;c"],
];

for (const [field, value, rest] of rows) {
  test(JSON.stringify(field), () => {
    assert.equal(cookieValue(field, "DLBA", KNOWN), value);
    assert.equal(withoutCookie(field, "DLBA"), rest);
  });
}
