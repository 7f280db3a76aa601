import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "node:test";
import { readToken, tokenPsk, tokenText } from "../../../cli/join/token.ts";

const token = fc.record(
  {
    address: fc.oneof(fc.ipV4(), fc.constantFrom("2001:db8::10", "fe80::1", "::1")),
    port: fc.integer({ min: 1, max: 65_535 }),
    secret: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  },
  { noNullPrototype: true },
);

describe("a token's text", () => {
  test("brings back what it was made of, white space around it or not", () => {
    fc.assert(
      fc.property(token, (token) => {
        assert.deepEqual(readToken(`  ${tokenText(token)}\n`), token);
      }),
      { numRuns: 200 },
    );
  });

  test("is short, and of characters that need no quotes", () => {
    const secret = Buffer.alloc(16, 255);
    assert.match(tokenText({ address: "192.0.2.11", port: 8474, secret }), /^dlba1-[\w-]{36}$/);
  });

  test("with one character wrong, or not whole, is none; and what was typed is not repeated", () => {
    const text = tokenText({ address: "192.0.2.11", port: 8474, secret: Buffer.alloc(16, 7) });
    const wrong = ["", "dlba1-", "token", text.slice(1), text.slice(0, -1), `${text}A`, `${text}!`];
    for (let i = 6; i < text.length; i++) {
      wrong.push(text.slice(0, i) + (text[i] === "B" ? "C" : "B") + text.slice(i + 1));
    }
    for (const each of wrong) {
      assert.throws(
        () => readToken(each),
        (error: Error & { code: string }) => error.code === "USAGE" && error.message === "that is no token",
        each,
      );
    }
  });

  test("its key depends on the whole secret", () => {
    const keys = [0, 1].map((last) => tokenPsk(Buffer.from([...Buffer.alloc(15), last])).psk.toString("hex"));
    assert.notEqual(keys[0], keys[1]);
  });
});
