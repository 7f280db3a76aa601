import assert from "node:assert/strict";
import { hkdfSync } from "node:crypto";
import { describe, test } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import {
  arrayKeyOf,
  arrayKeyText,
  cookieToken,
  deriveAlso,
  deriveKey,
  keyId,
  parseArrayKey,
  takeArrayKey,
} from "../../conf/keys.ts";

const OLD = Buffer.alloc(32, 1);
const NEW = Buffer.alloc(32, 2);
const [old, young] = [OLD.toString("base64"), NEW.toString("base64")];
const seedText = Buffer.from(arrayKeyOf(OLD).seed).toString("base64");

describe("the array key's file", () => {
  test("one line is a key; its seed derives from it", () => {
    for (const text of [old, `\n  ${old}\r\n\n`, `# secret\n${old}\n`, old.replace("=", "")]) {
      assert.deepEqual(parseArrayKey(text, "k"), arrayKeyOf(OLD));
    }
  });

  test("several lines name the key, another one that is heard, and the seed, in any order", () => {
    const { seed } = arrayKeyOf(OLD);
    const used = parseArrayKey(`seed ${seedText}\nprevious ${old}\nkey ${young}\n`, "k");
    assert.deepEqual(used, { current: NEW, also: OLD, isAlsoNext: false, seed });
    const prepared = parseArrayKey(`key ${old}\nnext ${young}\nseed ${seedText}\n`, "k");
    assert.deepEqual(prepared, { current: OLD, also: NEW, isAlsoNext: true, seed });
    assert.equal(parseArrayKey(`key ${young}\nseed ${seedText}`, "k").also, undefined);
  });

  test("what is written is what is read, at every stage of a change", () => {
    const { seed } = arrayKeyOf(OLD);
    for (const also of [undefined, NEW]) {
      for (const isAlsoNext of also === undefined ? [false] : [false, true]) {
        const key = { current: OLD, also, isAlsoNext, seed };
        assert.deepEqual(parseArrayKey(arrayKeyText(key), "k"), key);
        const held = arrayKeyOf(OLD);
        takeArrayKey(held, arrayKeyText(key));
        assert.deepEqual(held, key);
      }
    }
  });

  test("everything else is refused, and the refusal tells nothing of it", () => {
    const wrong = [
      "",
      "# nothing\n",
      "secret",
      old.slice(4),
      `${old}${old}`,
      `${old}\n${young}`,
      `key ${young}`,
      `seed ${seedText}`,
      `key ${young}\nkey ${young}\nseed ${seedText}`,
      `key ${young}\nseed ${seedText}\nmore ${old}`,
      `key ${young} ${old}\nseed ${seedText}`,
      `key ${young}\nnext\nseed ${seedText}`,
      `key ${young}\nnext ${old}\nprevious ${old}\nseed ${seedText}`,
      `${old}\n${"#".repeat(5000)}`,
    ];
    for (const text of wrong) {
      assert.throws(
        () => parseArrayKey(text, "array.key"),
        (error: DlbaError) => {
          assert.equal(error.code, "ARRAY_KEY_INVALID");
          const said = `${error.message} ${error.hint}`;
          for (const secret of [old, young, seedText]) assert.ok(!said.includes(secret.slice(0, 8)));
          return true;
        },
        JSON.stringify(text),
      );
    }
  });
});

describe("what derives from the array key", () => {
  const before = arrayKeyOf(OLD);
  const after = { current: NEW, also: OLD, isAlsoNext: false, seed: before.seed };

  test("flows and cookies stay where they are when the key changes; all else changes", () => {
    for (const use of ["hash-seed", "cookie", "rates"] as const) {
      assert.deepEqual(deriveKey(before, use, 16), deriveKey(after, use, 16));
    }
    assert.equal(cookieToken(before, "app", "web1"), cookieToken(after, "app", "web1"));
    for (const use of ["ticket", "control", "heartbeat"] as const) {
      assert.notDeepEqual(deriveKey(before, use, 16), deriveKey(after, use, 16));
      assert.deepEqual(deriveKey(before, use, 16, "x"), deriveAlso(after, use, 16, "x"));
      assert.equal(deriveAlso(before, use, 16), undefined);
    }
  });

  test("each use has a key of its own, by RFC 5869", () => {
    const uses = ["hash-seed", "cookie", "rates", "ticket", "control", "heartbeat"] as const;
    assert.equal(new Set(uses.map((use) => deriveKey(before, use, 32).toString("hex"))).size, uses.length);
    assert.deepEqual(
      deriveKey(before, "control", 32),
      Buffer.from(hkdfSync("sha256", OLD, "dlba", "control/", 32)),
    );
  });

  test("a key's id tells keys apart", () => {
    assert.match(keyId(OLD), /^[0-9a-f]{16}$/);
    assert.notEqual(keyId(OLD), keyId(NEW));
  });
});
