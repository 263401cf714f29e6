/** The frame that the page's charts share: axes, and reading values off by pointer or arrow keys. */
import type { ComponentChildren, TargetedKeyboardEvent, TargetedPointerEvent } from "preact";
import { useState } from "preact/hooks";
import styles from "./chart.module.css";
import { useWidth } from "./hooks";

/** Pixels around the plot, for the labels of the axes. */
const MARGIN = { top: 22, right: 14, bottom: 30, left: 52 };
const HEIGHT = 250;

export interface Axis {
  /** The values at both ends. */
  from: number;
  to: number;
  ticks: { value: number; label: string }[];
}

/** What a chart needs to draw inside the frame. */
export interface Plot {
  /** Pixels from the left of a value on the horizontal axis. */
  x: (value: number) => number;
  /** Pixels from the top of a value on the vertical axis. */
  y: (value: number) => number;
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** Index of the value that is being read off, or null. */
  selected: number | null;
}

interface ChartProps {
  caption: ComponentChildren;
  /** What a screen reader says instead of the drawing. */
  label: string;
  xAxis: Axis;
  yAxis: Axis;
  /** How many values can be read off. */
  length: number;
  /** Returns the index of the value nearest to a place on the horizontal axis. */
  indexAt: (x: number) => number;
  /** Describes the value at an index, in words. */
  describe: (index: number) => string;
  children: (plot: Plot) => ComponentChildren;
}

/** Draw axes, grid and caption; below them stands the selected value in words, or the last one. */
export function Chart({ caption, label, xAxis, yAxis, length, indexAt, describe, children }: ChartProps) {
  const [frame, width] = useWidth();
  const [selected, setSelected] = useState<number | null>(null);
  const plotWidth = Math.max(width - MARGIN.left - MARGIN.right, 1);
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  const plot: Plot = {
    x: (value) => MARGIN.left + ((value - xAxis.from) / (xAxis.to - xAxis.from)) * plotWidth,
    y: (value) => MARGIN.top + ((yAxis.to - value) / (yAxis.to - yAxis.from)) * plotHeight,
    left: MARGIN.left,
    right: width - MARGIN.right,
    top: MARGIN.top,
    bottom: HEIGHT - MARGIN.bottom,
    selected,
  };

  const select = (index: number) =>
    setSelected(length === 0 ? null : Math.min(Math.max(index, 0), length - 1));
  const onPointerMove = (event: TargetedPointerEvent<SVGSVGElement>) => {
    const pixel = event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left;
    select(indexAt(xAxis.from + (pixel / plotWidth) * (xAxis.to - xAxis.from)));
  };
  const onKeyDown = (event: TargetedKeyboardEvent<SVGSVGElement>) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    select(selected === null ? length - 1 : selected + step);
  };

  return (
    <figure class={styles.chart} ref={frame}>
      <figcaption>{caption}</figcaption>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        tabIndex={0}
        aria-label={label}
        onPointerMove={onPointerMove}
        onPointerLeave={() => setSelected(null)}
        onKeyDown={onKeyDown}
        onBlur={() => setSelected(null)}
      >
        {yAxis.ticks.map(({ value, label }) => (
          <g key={value}>
            <line class={styles.grid} x1={plot.left} x2={plot.right} y1={plot.y(value)} y2={plot.y(value)} />
            <text x={MARGIN.left - 8} y={plot.y(value)} dy="0.32em" text-anchor="end">
              {label}
            </text>
          </g>
        ))}
        {xAxis.ticks.map(({ value, label }) => (
          <text key={value} x={plot.x(value)} y={HEIGHT - 10} text-anchor="middle">
            {label}
          </text>
        ))}
        {children(plot)}
      </svg>
      <p class={styles.readout} role="status">
        {length === 0 ? "" : describe(selected ?? length - 1)}
      </p>
    </figure>
  );
}

/** Return about `wanted` round numbers that cover `low` to `high`. */
export function roundTicks(low: number, high: number, wanted: number): number[] {
  const span = high > low ? high - low : Math.max(Math.abs(high), 1);
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  // Multiplied, not added up: sums of decimals drift.
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}
