/** Lines over the last minutes, one for each node: uPlot, from our own files. */
import type { Options, Series } from "uplot";
import { css, type Rgb } from "./colours.ts";
import uPlot from "./uplot.js";

/** Points that are kept: five minutes at one a second. */
const POINTS = 300;
const HEIGHT_PX = 200;

export interface ChartLine {
  readonly name: string;
  readonly colour: Rgb;
}

export interface Chart {
  /** Unix time in seconds and a value for each line; null where there is none. */
  readonly add: (at_s: number, values: readonly (number | null)[]) => void;
  /** Which lines there are; where they differ from before, all begins anew. */
  readonly setLines: (lines: readonly ChartLine[]) => void;
  /** In the colours of the page as they are now. */
  readonly redraw: () => void;
}

/** A chart that fills a place of the page. */
export function createChart(place: HTMLElement, unit: string): Chart {
  let lines: readonly ChartLine[] = [];
  let data: (number | null)[][] = [[]];
  let plot: uPlot | undefined;
  const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

  const width = (): number => Math.max(200, Math.floor(place.clientWidth));
  const draw = (): void => {
    plot?.destroy();
    place.replaceChildren();
    const style = getComputedStyle(document.documentElement);
    // Canvases take no variables: what the page uses now is read from an element that uses it.
    const quiet = getComputedStyle(place).color;
    const grid = { stroke: style.getPropertyValue("color"), width: 0.15 };
    const axis = { stroke: quiet, grid, ticks: { ...grid, size: 4 } };
    const series: Series[] = lines.map(({ name, colour }) => ({
      label: name,
      stroke: css(colour),
      width: 1.5,
      spanGaps: false,
      points: { show: false },
      value: (_plot, value) => (value === null ? "–" : `${numbers.format(value)}${unit}`),
    }));
    const options: Options = {
      width: width(),
      height: HEIGHT_PX,
      series: [{ label: "Time", value: (_plot, value) => timeText(value) }, ...series],
      axes: [
        { ...axis, space: 80, values: (_plot, values) => values.map(timeText) },
        { ...axis, size: 48, values: (_plot, values) => values.map((value) => numbers.format(value)) },
      ],
      scales: { y: { range: (_plot, _least, most) => [0, Math.max(1, (most ?? 1) * 1.1)] } },
      cursor: { y: false, drag: { x: false, y: false } },
    };
    plot = new uPlot(options, aligned(data), place);
  };
  new ResizeObserver(() => plot?.setSize({ width: width(), height: HEIGHT_PX })).observe(place);
  return {
    setLines: (next) => {
      if (JSON.stringify(next) === JSON.stringify(lines)) return;
      lines = next;
      data = [[], ...next.map(() => [])];
      draw();
    },
    add: (at_s, values) => {
      const last = data[0]?.at(-1) ?? 0;
      if (at_s <= last) return;
      [at_s, ...values].forEach((value, line) => {
        const column = data[line];
        column?.push(value);
        if (column !== undefined && column.length > POINTS) column.shift();
      });
      plot?.setData(aligned(data));
    },
    redraw: draw,
  };
}

const timeText = (at_s: number | null): string =>
  at_s === null ? "–" : new Date(at_s * 1000).toLocaleTimeString("en", { hourCycle: "h23" });

/** Times first: they are never null. */
function aligned([times = [], ...values]: readonly (number | null)[][]): uPlot.AlignedData {
  return [times.map(Number), ...values];
}
