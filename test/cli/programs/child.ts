/** A process for the supervisor's tests: says that it is ready, then lives, ends or won't end, as told. */
import { exitWithParent, onOrder, reportReady } from "../../../net/parent-watch.ts";

const [behaviour] = process.argv.slice(2);
exitWithParent();
if (behaviour === "deaf") process.on("SIGTERM", () => {});
if (behaviour === "fail") process.exit(7);
// Tells what it hears by its exit code.
let isTold = false;
onOrder((order) => {
  if (order.kind === "retire") process.exit(behaviour === "stays" ? undefined : 5);
  if (order.kind !== "cover" || behaviour !== "covers") return;
  if (order.isOn && isTold) process.exit(6);
  isTold ||= !order.isOn;
});
reportReady();
if (behaviour === "stuck") {
  for (;;);
}
setInterval(() => {}, 1000);
