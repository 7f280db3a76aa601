/** Light, dark, or as the system has it; the choice is kept in this browser. */

const KEY = "dlba-theme";
const CHOICES = ["system", "light", "dark"] as const;

/** Sets what was chosen before. */
export function applyTheme(): void {
  const choice = localStorage.getItem(KEY) ?? "system";
  if (choice === "light" || choice === "dark") document.documentElement.dataset["theme"] = choice;
  else delete document.documentElement.dataset["theme"];
}

/** The next choice; returns its name. */
export function nextTheme(): string {
  const place = CHOICES.findIndex((choice) => choice === (localStorage.getItem(KEY) ?? "system"));
  const choice = CHOICES[(place + 1) % CHOICES.length] ?? "system";
  localStorage.setItem(KEY, choice);
  applyTheme();
  return choice;
}

/** Whether the page is dark now. */
export function isDark(): boolean {
  const choice = document.documentElement.dataset["theme"];
  if (choice !== undefined) return choice === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}
