/** `npm run soak:websockets -- [--messages 10000] [--seed 1] [--json]`: see echo-run.ts. Exits 1 unless all was well. */
import { parseArgs } from "node:util";
import { runEchoes } from "./echo-run.ts";

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const [messages, seed] = [Number(values.messages), Number(values.seed)];
if (!Number.isInteger(messages) || messages < 30 || !Number.isInteger(seed)) {
  console.error("--messages takes a number from 30 on, --seed a whole one");
  process.exit(2);
}
const say = (text: string): void => void (values.json || console.log(text));
const report = await runEchoes({ messages, connections: 9, seed, say });
console.log(JSON.stringify(report, undefined, 2));
process.exit(report.ok ? 0 : 1);
