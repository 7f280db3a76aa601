/** When a response with the injected cookie has to be kept from caches that serve many. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keepsCookieFromSharing } from "../../../dlba-server/http/cache-control.ts";

const rows: [value: string, isKept: boolean][] = [
  ["private", true],
  ["PRIVATE", true],
  ["no-store", true],
  ["max-age=60, private", true],
  ["public, private", true],
  ["private, s-maxage=60", true],
  ['private="set-cookie"', true],
  ['private="x-a, Set-Cookie"', true],
  ["private=Set-Cookie", true],
  ["private=", true],
  ["no-store, no-cache", true],
  ["", false],
  ["public", false],
  ["public, max-age=60", false],
  ["s-maxage=60", false],
  ["max-age=60, must-revalidate", false],
  ["no-cache", false],
  ['no-cache="set-cookie"', false],
  ['private="x-user"', false],
  ['private="not-set-cookie-2"', false],
  ['x="private"', false],
  ['x="a, private, b"', false],
  ['x="a\\", private"', false],
  ["x=private", false],
  ["private-ish", false],
  ["un-private", false],
  ["proxy-revalidate, immutable", false],
];

for (const [value, isKept] of rows) {
  test(`${value === "" ? "nothing" : value}: ${isKept ? "says so itself" : "is told so"}`, () => {
    assert.equal(keepsCookieFromSharing(value), isKept);
  });
}
