/** Reads server-sent events out of text that comes in any pieces. Pure. */

export interface Frame {
  readonly event: string;
  readonly data: string;
}

/** Of an event that does not end: the largest map, and much on top. */
const MOST_CHARACTERS = 8_000_000;

/** What takes pieces of text and returns the events that have ended with them. Throws when one does not end. */
export function frameReader(): (text: string) => Frame[] {
  let held = "";
  return (text) => {
    const parts = (held + text).split("\n\n");
    held = parts.pop() ?? "";
    if (held.length > MOST_CHARACTERS) throw new Error("an event does not end");
    return parts.flatMap((part) => frameOf(part) ?? []);
  };
}

function frameOf(text: string): Frame | undefined {
  let event = "message";
  const data: string[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length === 0 ? undefined : { event, data: data.join("\n") };
}
