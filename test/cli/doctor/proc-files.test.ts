import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { listeningSockets, parseFeatures, parseKernelOptions } from "../../../cli/doctor/proc-files.ts";

test("listening sockets are read from the kernel's tables", () => {
  const tcp = `  sl  local_address rem_address   st tx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   2: 0B0200C0:A1B2 150200C0:0050 01 00000000:00000000 00:00000000 00000000     0
`;
  assert.deepEqual(listeningSockets(tcp), [
    { address: "127.0.0.1", port: 8080 },
    { address: "0.0.0.0", port: 22 },
  ]);
  const tcp6 = `   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0
   1: B80D0120000000000000000010000000:01BB 00000000000000000000000000000000:0000 0A 0
   2: 0000000000000000FFFF00000B0200C0:0019 00000000000000000000000000000000:0000 0A 0
   3: zz:0019 00:0000 0A
`;
  assert.deepEqual(listeningSockets(tcp6), [
    { address: "::", port: 80 },
    { address: "2001:db8:0:0:0:0:0:10", port: 443 },
    { address: "192.0.2.11", port: 25 },
  ]);
  assert.deepEqual(listeningSockets(""), []);
});

test("a socket that listens here is among them", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const found = listeningSockets(readFileSync("/proc/self/net/tcp", "latin1"));
  assert.ok(found.some((each) => each.port === address.port && each.address === "127.0.0.1"));
});

test("ethtool's features and the kernel's options are read", () => {
  const features = parseFeatures(
    "Features for eth0:\nrx-checksumming: on\n\ttx-checksum-ipv4: on\nlarge-receive-offload: off [fixed]\n",
  );
  assert.deepEqual(
    [...features],
    [
      ["rx-checksumming", true],
      ["tx-checksum-ipv4", true],
      ["large-receive-offload", false],
    ],
  );
  const options = parseKernelOptions(
    '# CONFIG_X is not set\nCONFIG_BPF_JIT=y\nCONFIG_HZ=250\nCONFIG_N="a=b"\n',
  );
  assert.deepEqual(
    [...options],
    [
      ["BPF_JIT", "y"],
      ["HZ", "250"],
      ["N", '"a=b"'],
    ],
  );
});
