/** Cookies: the injected one is found and taken out as a slow reader would, and nothing else changes. */
import assert from "node:assert/strict";
import { cookieValue, withoutCookie } from "../../../dlba-server/http/cookie.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const NAME = "DLBA";

const BLANKS = /^[\t ]+|[\t ]+$/g;
const KNOWN = new Map([["y", 0]]);

function check(input: string): void {
  const pairs = input.split(";");
  const isInjected = (pair: string): boolean => new RegExp(`^[\\t ]*${NAME}[\\t ]*(?:=|$)`).test(pair);
  const values = pairs.flatMap(
    (pair) => new RegExp(`^[\\t ]*${NAME}=(.*)$`, "s").exec(pair)?.[1]?.replace(BLANKS, "") ?? [],
  );
  assert.equal(cookieValue(input, NAME), values[0]);
  assert.equal(cookieValue(input, NAME, KNOWN), values.find((value) => KNOWN.has(value)) ?? values[0]);
  const rest = withoutCookie(input, NAME);
  if (!pairs.some(isInjected)) assert.equal(rest, input);
  assert.equal(rest.split(";").some(isInjected), false, rest);
  const others = (all: readonly string[]): string[] =>
    all
      .filter((pair) => !isInjected(pair))
      .map((pair) => pair.replace(BLANKS, ""))
      .filter((pair) => pair !== "");
  assert.deepEqual(others(rest.split(";")), others(pairs));
}

const make = (random: Random): string =>
  Array.from({ length: below(random, 5) }, () =>
    oneOf(random, [
      "a=b",
      "DLBA=x",
      "DLBA=",
      "XDLBA=1",
      "DLBA",
      "DLBA =y",
      "DLBA=y",
      'c="d"',
      "",
      "DLBA=y z",
      "e=DLBA=1",
    ]),
  ).join(oneOf(random, ["; ", ";", " ; ", ";\t"]));

export const cookies: Target = {
  name: "cookies",
  batch: 3000,
  seeds: ["DLBA=x", "a=b; DLBA=x; c=d", "DLBA=x; DLBA=y", " DLBA=x", "a=DLBA=x", 'a="; DLBA=x"'],
  words: ["DLBA", "DLBA=", "DLBA =", "y", "; ", ";", "=", " ", "\t", '"', "DLBA=x; ", "a=b"],
  make,
  check,
};
