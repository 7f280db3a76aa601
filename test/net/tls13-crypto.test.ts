import assert from "node:assert/strict";
import { createCipheriv, createHmac } from "node:crypto";
import { test } from "node:test";
import { nativeMemory } from "../../net/ffi.ts";
import { expandLabel, HASH_BYTES, type Hash } from "../../net/hkdf.ts";
import { createKey, freeKey, type Nonce, open, seal, suiteOf, TAG_BYTES } from "../../net/openssl-aead.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

// RFC 8448, section 3: a whole handshake with all its keys.
const CLIENT_SECRET = hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
const CLIENT_KEY = hex("17422dda596ed5d9acd890e3c63f5051");
const CLIENT_IV = hex("5b78923dee08579033e523d9");
const CLIENT_RECORD = hex(
  "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f" +
    "5a6292a2977014bd1e3deae63aeebb21694915e4",
);

function expand(hash: Hash, secret: Buffer, label: string, length: number): Buffer {
  const to = Buffer.alloc(length);
  expandLabel(hash, secret, label, to);
  return to;
}

function nonceOf(iv: Buffer, sequence: number): Nonce {
  return { iv0: iv.readUInt32BE(0), iv1: iv.readUInt32BE(4), iv2: iv.readUInt32BE(8), sequence };
}

test("keys of RFC 8448's handshake come out of its secrets", () => {
  assert.deepEqual(expand("SHA256", CLIENT_SECRET, "key", 16), CLIENT_KEY);
  assert.deepEqual(expand("SHA256", CLIENT_SECRET, "iv", 12), CLIENT_IV);
});

test("both hashes expand as HKDF says, one after the other, and refuse more than one block", () => {
  for (const hash of ["SHA384", "SHA256", "SHA384"] as const) {
    const secret = Buffer.alloc(HASH_BYTES[hash], 7);
    const length = HASH_BYTES[hash];
    const label = Buffer.from("tls13 traffic upd");
    const info = Buffer.concat([Buffer.from([0, length, label.length]), label, Buffer.from([0, 1])]);
    const expected = createHmac(hash.toLowerCase(), secret).update(info).digest();
    assert.deepEqual(expand(hash, secret, "traffic upd", length), expected);
    assert.throws(() => expand(hash, secret, "key", length + 1), RangeError);
  }
});

test("RFC 8448's record of application data is opened, and not with another number or a changed bit", () => {
  const suite = suiteOf(0x1301)!;
  const wire = nativeMemory(CLIENT_RECORD.length);
  wire.bytes.set(CLIENT_RECORD);
  const to = nativeMemory(64);
  const text_bytes = CLIENT_RECORD.length - 5 - TAG_BYTES;
  const opens = (sequence: number): boolean => {
    const key = createKey(suite, CLIENT_KEY, false);
    const is = open(
      key,
      nonceOf(CLIENT_IV, sequence),
      wire.address,
      5,
      wire.address + 5,
      text_bytes,
      to.address,
    );
    freeKey(key);
    return is;
  };
  assert.equal(opens(0), true);
  assert.deepEqual([...to.bytes.subarray(0, text_bytes)], [...Array(50).keys(), 23]);
  assert.equal(opens(1), false);
  for (const at of [0, 4, 5, 30, CLIENT_RECORD.length - 1]) {
    wire.bytes[at] = wire.bytes[at]! ^ 1;
    assert.equal(opens(0), false, `a bit of byte ${at} was changed`);
    wire.bytes[at] = CLIENT_RECORD[at]!;
  }
});

test("every suite seals what another implementation does, with numbers beyond 2^32, too", () => {
  const ciphers = [
    [0x1301, "aes-128-gcm"],
    [0x1302, "aes-256-gcm"],
    [0x1303, "chacha20-poly1305"],
  ] as const;
  const iv = Buffer.from("f0e1d2c3b4a5968778695a4b", "hex");
  const text = nativeMemory(1000);
  text.bytes.fill("the text");
  const aside = nativeMemory(8);
  aside.bytes.set([23, 3, 3, 1, 2, 21]);
  const to = nativeMemory(1100);
  for (const [id, name] of ciphers) {
    const suite = suiteOf(id)!;
    const keyBytes = Buffer.alloc(suite.key_bytes, 5);
    const key = createKey(suite, keyBytes, true);
    for (const [sequence, length] of [
      [0, 1000],
      [1, 0],
      [2 ** 32 + 3, 1],
      [2 ** 52 + 1, 999],
    ] as const) {
      const by = nonceOf(iv, sequence);
      const isSealed = seal(
        key,
        by,
        aside.address,
        5,
        text.address,
        length,
        aside.address + 5,
        1,
        to.address,
      );
      assert.equal(isSealed, true);
      const nonce = Buffer.from(iv);
      const number = Buffer.alloc(8);
      number.writeBigUInt64BE(BigInt(sequence));
      for (const [i, byte] of number.entries()) nonce[4 + i] = nonce[4 + i]! ^ byte;
      const cipher = createCipheriv(name as "aes-128-gcm", keyBytes, nonce, { authTagLength: 16 });
      cipher.setAAD(aside.bytes.subarray(0, 5), { plaintextLength: length + 1 });
      const expected = Buffer.concat([
        cipher.update(Buffer.concat([text.bytes.subarray(0, length), Buffer.from([21])])),
        cipher.final(),
        cipher.getAuthTag(),
      ]);
      assert.deepEqual(Buffer.from(to.bytes.subarray(0, expected.length)), expected, `${name} ${sequence}`);
    }
    freeKey(key);
  }
  assert.equal(suiteOf(0x1304), undefined);
});
