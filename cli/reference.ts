/** `dlba completion` and `dlba man`: what the command line knows of itself, for shells and readers. */
import { Argument, type Command } from "commander";
import { productVersion } from "../conf/version.ts";
import { SHELLS, type Shell } from "./reference/completion.ts";

/** Adds `completion` and `man` to the program. */
export function registerReference(program: Command): void {
  program
    .command("completion")
    .description("print a script that completes dlba commands in a shell")
    .addArgument(new Argument("<shell>", "whose script").choices(SHELLS))
    .action(async (shell: Shell) => {
      const { commandTree } = await import("./reference/command-tree.ts");
      const { completionScript } = await import("./reference/completion.ts");
      process.stdout.write(completionScript(commandTree(program), shell));
    });
  program
    .command("man")
    .description("print the man page, in roff: dlba man | man -l -")
    .action(async () => {
      const { commandTree } = await import("./reference/command-tree.ts");
      const { manPage } = await import("./reference/man-page.ts");
      process.stdout.write(manPage(commandTree(program), productVersion()));
    });
}
