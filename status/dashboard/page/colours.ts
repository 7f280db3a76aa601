/** A colour for each node, the same everywhere on the page. Pure. */

export type Rgb = readonly [red: number, green: number, blue: number];

/** Told apart by most colour-blind people, and seen on light and on dark. */
const FIRST: readonly Rgb[] = [
  [59, 130, 246],
  [245, 158, 11],
  [16, 185, 129],
  [217, 70, 97],
  [139, 92, 246],
  [6, 182, 212],
  [236, 110, 190],
  [132, 140, 60],
];
const GOLDEN_ANGLE = 137.508;

/** By a node's place among the nodes. */
export function colourAt(place: number): Rgb {
  return FIRST[place] ?? fromHue((place * GOLDEN_ANGLE) % 360, 0.55 + 0.1 * (place % 3));
}

/** Half saturated, of a middle lightness. */
function fromHue(hue: number, lightness: number): Rgb {
  const channel = (offset: number): number => {
    const k = (offset + hue / 30) % 12;
    const span = 0.6 * Math.min(lightness, 1 - lightness);
    return Math.round(255 * (lightness - span * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

export const css = ([red, green, blue]: Rgb): string => `rgb(${red} ${green} ${blue})`;
