/** What differs between two texts, as `diff -u` shows it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DlbaError } from "../../conf/errors.ts";
import { tryCommand } from "../../net/command.ts";

export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** The lines that differ, with some around them; empty when none do. */
export async function difference(before: NamedText, after: NamedText): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "dlba-diff-"));
  try {
    const [a, b] = [join(dir, "a"), join(dir, "b")];
    writeFileSync(a, before.text, { mode: 0o600 });
    writeFileSync(b, after.text, { mode: 0o600 });
    const labels = ["--label", before.name, "--label", after.name];
    const { code, stdout, stderr } = await tryCommand("diff", ["-u", ...labels, a, b]);
    if (code === 0 || code === 1) return stdout;
    throw new DlbaError("COMMAND_FAILED", `diff failed: ${stderr.trim()}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
