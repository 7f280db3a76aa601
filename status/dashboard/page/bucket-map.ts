/**
 * The Client IP Hash Table as a picture: a cell for each bucket in the colour of its node. Cells that have moved light up and fade, so one
 * sees them move.
 */
import type { MapChanges, WholeMap } from "../messages.ts";
import type { Rgb } from "./colours.ts";

const NOBODY = 255;
const FADE_MS = 1600;

export interface BucketMap {
  readonly setWhole: (map: WholeMap) => void;
  readonly move: (changes: MapChanges) => void;
  /** By node number. */
  readonly setColours: (colours: ReadonlyMap<number, Rgb>) => void;
  /** Shows one node's cells alone, or all. */
  readonly emphasise: (number: number | undefined) => void;
  readonly setDark: (isDark: boolean) => void;
  /** Cells of each node number. */
  readonly counts: () => Uint32Array;
  /** The cell at a place in the canvas, from 0 to 1 both ways. */
  readonly cellAt: (
    x: number,
    y: number,
  ) => { readonly bucket: number; readonly number: number | undefined } | undefined;
  readonly stretch: () => number;
}

/** Paints on a canvas; what does not move costs nothing. */
export function createBucketMap(canvas: HTMLCanvasElement): BucketMap {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser can't paint");
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  let cells = new Uint8Array(0);
  let stretch = 1;
  let columns = 0;
  let image = context.createImageData(1, 1);
  let colours: ReadonlyMap<number, Rgb> = new Map();
  let emphasised: number | undefined;
  /** What lights up goes to white on dark, and to black on light. */
  let glowTo = 255;
  /** When cells moved that still light up. */
  const moved = new Map<number, number>();
  let isPainting = false;

  const paintCell = (cell: number, glow: number): void => {
    const number = cells[cell] ?? NOBODY;
    const [red, green, blue] = colours.get(number) ?? [128, 128, 128];
    const isFaint = number === NOBODY || (emphasised !== undefined && emphasised !== number);
    const { data } = image;
    const at = cell * 4;
    data[at] = red + (glowTo - red) * glow;
    data[at + 1] = green + (glowTo - green) * glow;
    data[at + 2] = blue + (glowTo - blue) * glow;
    data[at + 3] = isFaint ? 40 + 215 * glow : 255;
  };
  const paint = (): void => {
    for (let cell = 0; cell < cells.length; cell++) paintCell(cell, 0);
    context.putImageData(image, 0, 0);
  };
  const fade = (now_ms: number): void => {
    for (const [cell, at_ms] of moved) {
      const glow = Math.max(0, 1 - (now_ms - at_ms) / FADE_MS);
      paintCell(cell, glow);
      if (glow === 0) moved.delete(cell);
    }
    context.putImageData(image, 0, 0);
    isPainting = moved.size > 0;
    if (isPainting) requestAnimationFrame(fade);
  };
  return {
    setWhole: (map) => {
      cells = Uint8Array.from(atob(map.cells), (character) => character.charCodeAt(0));
      stretch = map.stretch;
      columns = Math.max(1, 2 ** Math.ceil(Math.log2(Math.sqrt(cells.length))));
      canvas.width = columns;
      canvas.height = Math.max(1, Math.ceil(cells.length / columns));
      image = context.createImageData(canvas.width, canvas.height);
      moved.clear();
      paint();
    },
    move: (changes) => {
      const now_ms = performance.now();
      for (let i = 0; i + 1 < changes.length; i += 2) {
        const cell = changes[i]!;
        if (cell >= cells.length) continue;
        cells[cell] = changes[i + 1]!;
        if (isCalm.matches) paintCell(cell, 0);
        else moved.set(cell, now_ms);
      }
      if (isCalm.matches) context.putImageData(image, 0, 0);
      else if (!isPainting && moved.size > 0) {
        isPainting = true;
        requestAnimationFrame(fade);
      }
    },
    setColours: (next) => {
      const isSame = next.size === colours.size && [...next.keys()].every((number) => colours.has(number));
      if (isSame) return;
      colours = next;
      paint();
    },
    emphasise: (number) => {
      emphasised = number;
      paint();
    },
    setDark: (isDark) => {
      glowTo = isDark ? 255 : 0;
      paint();
    },
    counts: () => {
      const counts = new Uint32Array(256);
      for (const number of cells) counts[number]!++;
      return counts;
    },
    cellAt: (x, y) => {
      const cell = Math.floor(y * canvas.height) * columns + Math.floor(x * columns);
      const number = cells[cell];
      if (number === undefined) return undefined;
      return { bucket: cell * stretch, number: number === NOBODY ? undefined : number };
    },
    stretch: () => stretch,
  };
}
