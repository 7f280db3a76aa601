import assert from "node:assert/strict";
import { test } from "node:test";
import { sipTag } from "../../net/siphash.ts";

/** The authors' vectors (vectors.h): key 00..0f, messages of 0 to 63 bytes 00, 01, 02… */
const VECTORS = `
310e0edd47db6f72fd67dc93c539f8745a4fa9d909806c0d2d7efbd796666785b7877127e09427cf8da699cd64557618
cee3fe586e46c9cb37d1018bf50002ab6224939a79f5f593b0e4a90bdf82009ef3b9dd94c5bb5d7aa7ad6b22462fb3f4
fbe50e86bc8f1e75903d84c02756ea14eef27a8e90ca23f7e545be4961ca29a1db9bc2577fcc2a3f9447be2cf5e99a69
9cd38d96f0b3c14bbd6179a71dc96dbb98eea21af25cd6bec7673b2eb0cbf2d0883ea3e395675393c8ce5ccd8c030ca8
94af49f6c650adb8eab8858ade92e1bcf315bb5bb835d817adcf6b0763612e2fa5c91da7acaa4dde716595876650a2a6
28ef495c53a387ad42c341d8fa92d832ce7cf2722f512771e37859f94623f3a7381205bb1ab0e012ae97a10fd434e015
b4a31508beff4d3181396229f09079024d0cf49ee5d4dcca5c73336a76d8bf9ad0a704536ba93e0e925958fcd6420cad
a915c29bc8067318952b79f3bc0aa6d4f21df2e41d4535f987577519048f53a910a56cf5dfcd9adbeb75095ccd986cd0
51a9cb9ecba312e696afadfc2ce666c772fe52975a4364ee5a1645b276d592a1b274cb8ebf87870a6f9bb4203de7b381
eaecb2a30b22a87f9924a43cc1315724bd838d3aafbf8db70b1a2a3265d51aea135079a3231ce660932b2846e4d70666
e1915f5cb1eca46cf325965ca16d629f575ff28e60381be5724506eb4c328a95`.replaceAll("\n", "");

test("the authors' test vectors come out, for each length of a message", () => {
  assert.equal(VECTORS.length, 64 * 16);
  const key = new DataView(Uint8Array.from({ length: 16 }, (_, i) => i).buffer);
  for (let length = 0; length < 64; length++) {
    const bytes = Uint8Array.from({ length: 72 }, (_, i) => i);
    sipTag(key, new DataView(bytes.buffer), length, 64);
    assert.equal(
      Buffer.from(bytes.subarray(64)).toString("hex"),
      VECTORS.slice(length * 16, length * 16 + 16),
    );
    assert.deepEqual([...bytes.subarray(0, 64)], [...Array(64).keys()], "the message stays");
  }
});
