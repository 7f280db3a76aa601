/**
 * The one family of operating errors. A `code` is stable (tests, logs and operators may rely on it); the
 * message is one sentence that says what happened, and `hint` what to do about it. Programming errors are
 * not DlbaErrors: they are assertions, and end the process (the supervisor restarts it).
 */
export class DlbaError extends Error {
  override readonly name = "DlbaError";
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** Whether what was thrown is something that happens in operation, one of ours or one that the system told Node; not a fault of the program. */
export const isOperatingError = (error: unknown): boolean =>
  error instanceof DlbaError || (error instanceof Error && "syscall" in error);

/** The text of anything thrown, for a log line or an operator: message, hint and causes, on one line. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = error instanceof DlbaError && error.hint !== undefined ? ` (${error.hint})` : "";
  const cause = error.cause === undefined ? "" : `: ${describeError(error.cause)}`;
  return error.message + hint + cause;
}
