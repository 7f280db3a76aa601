/** Cookies: the injected one is found and taken out as a slow reader would, and nothing else changes. */
import assert from "node:assert/strict";
import { cookieAt, cookieValue, withoutCookie } from "../../../dlba-server/http/cookie.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const NAME = "DLBA";

function check(input: string): void {
  const pairs = input.split(";");
  const isInjected = (pair: string): boolean => new RegExp(`^[\\t ]*${NAME}=`).test(pair);
  const at = cookieAt(input, NAME);
  const first = pairs.find(isInjected);
  assert.equal(at === -1, first === undefined);
  if (first === undefined) return;
  assert.equal(cookieValue(input, at), first.slice(first.indexOf("=") + 1).trim());
  const rest = withoutCookie(input, NAME);
  assert.equal(cookieAt(rest, NAME), -1, rest);
  const others = (all: readonly string[]): string[] =>
    all
      .filter((pair) => !isInjected(pair))
      .map((pair) => pair.trim())
      .filter((pair) => pair !== "");
  assert.deepEqual(others(rest.split(";")), others(pairs));
}

const make = (random: Random): string =>
  Array.from({ length: below(random, 5) }, () =>
    oneOf(random, ["a=b", "DLBA=x", "DLBA=", "XDLBA=1", "DLBA", 'c="d"', "", "DLBA=y z", "e=DLBA=1"]),
  ).join(oneOf(random, ["; ", ";", " ; ", ";\t"]));

export const cookies: Target = {
  name: "cookies",
  batch: 3000,
  seeds: ["DLBA=x", "a=b; DLBA=x; c=d", "DLBA=x; DLBA=y", " DLBA=x", "a=DLBA=x", 'a="; DLBA=x"'],
  words: ["DLBA=", "; ", ";", "=", " ", "\t", '"', "DLBA=x; ", "a=b"],
  make,
  check,
};
