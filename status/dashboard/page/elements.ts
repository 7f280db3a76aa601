/** Elements of the page: found, made, and changed only where they differ. Text is always text, never HTML. */

/** The element with an id of index.html. */
export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${id}`);
}

/** Makes an element. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = "",
  text = "",
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

/** Sets text where it is another one: what does not change is not painted, nor read out again. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export type Level = "good" | "info" | "warning" | "error" | "";

/** How bad something is, for its colour; it is always said in words, too. */
export function setLevel(element: HTMLElement, level: Level): void {
  if ((element.dataset["level"] ?? "") === level) return;
  if (level === "") delete element.dataset["level"];
  else element.dataset["level"] = level;
}

/** Rows (or cards) by key: made when they come, kept in the order of the list, taken away when they go. */
export function keyed<Item, Made extends { readonly element: HTMLElement }>(
  parent: HTMLElement,
  keyOf: (item: Item) => string,
  makeOne: (item: Item) => Made,
  update: (made: Made, item: Item) => void,
): (items: readonly Item[]) => void {
  const known = new Map<string, Made>();
  return (items) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, { element }] of known) {
      if (keys.has(key)) continue;
      element.remove();
      known.delete(key);
    }
    items.forEach((item, place) => {
      const key = keyOf(item);
      const made = known.get(key) ?? makeOne(item);
      known.set(key, made);
      update(made, item);
      if (parent.children[place] !== made.element)
        parent.insertBefore(made.element, parent.children[place] ?? null);
    });
  };
}
