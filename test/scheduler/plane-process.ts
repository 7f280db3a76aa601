/**
 * A process that opens a data plane, says what it found, and does what it is told on its standard input's stead:
 * its arguments. Used by the loader tests to be killed.
 */
import { DlbaError, describeError } from "../../conf/errors.ts";
import { openDataPlane } from "../../scheduler/data-plane.ts";
import { sizeOf } from "../../scheduler/table.ts";

const [interfaceName = "", pinDir = "", tableSize = "1024", mode = "auto", mark = ""] = process.argv.slice(2);
try {
  const wanted = mode === "native" || mode === "generic" ? mode : "auto";
  const plane = openDataPlane({
    interface: interfaceName,
    pinDir,
    tableSize: Number(tableSize),
    mode: wanted,
  });
  const first = plane.buckets[0];
  if (mark !== "") plane.buckets[0] = Number(mark);
  const { attachment, adoption } = plane;
  console.log(JSON.stringify({ attachment, adoption, first, size: sizeOf(plane.buckets) }));
  setInterval(() => plane.consumeEvents(() => undefined), 50);
} catch (error) {
  console.log(
    JSON.stringify({ code: error instanceof DlbaError ? error.code : "?", text: describeError(error) }),
  );
}
