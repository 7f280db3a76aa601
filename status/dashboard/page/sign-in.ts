/**
 * The token: typed in, or behind the # of an address (which no browser sends to anyone, and which is taken away at once). It is kept for
 * this tab alone.
 */
import { byId } from "./elements.ts";

const KEY = "dlba-token";

/** What is known already. */
export function knownToken(): string | undefined {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname);
    sessionStorage.setItem(KEY, given);
  }
  return sessionStorage.getItem(KEY) ?? undefined;
}

export const forgetToken = (): void => sessionStorage.removeItem(KEY);

/** Who asked last is told alone. */
let asking = new AbortController();

/** Asks for it until it is typed in. */
export function askToken(reason: string, onToken: (token: string) => void): void {
  const form = byId("sign-in", HTMLFormElement);
  const input = byId("token", HTMLInputElement);
  byId("sign-in-error", HTMLParagraphElement).textContent = reason;
  form.hidden = false;
  input.value = "";
  input.focus();
  asking.abort();
  asking = new AbortController();
  const submitted = (event: SubmitEvent): void => {
    event.preventDefault();
    const token = input.value.trim();
    if (token === "") return;
    sessionStorage.setItem(KEY, token);
    input.value = "";
    form.hidden = true;
    onToken(token);
  };
  form.addEventListener("submit", submitted, { signal: asking.signal });
}
