import type { TargetedKeyboardEvent, TargetedPointerEvent } from "preact";
import { useState } from "preact/hooks";
import type { LossPoint } from "../contract";
import { useWidth } from "../use-width";
import { measured, nearestStep, type Series, ticks } from "./loss-scale";

/** Pixels around the plot, for the axes' figures. */
const MARGIN = { top: 12, right: 14, bottom: 30, left: 44 };
const HEIGHT = 240;

const SERIES: { key: Series; label: string }[] = [
  { key: "train_loss", label: "stories it learns from" },
  { key: "validation_loss", label: "stories held back" },
];

/** The loss over the steps of training, drawn as it comes in; the pointer or the arrow keys read it off. */
export function LossChart({ points }: { points: LossPoint[] }) {
  const [frame, width] = useWidth();
  const [picked, setPicked] = useState<LossPoint | null>(null);
  const sorted = [...points].sort((one, other) => one.step - other.step);
  const { x, y, yTicks, xTicks, stepAt } = scales(sorted, width);

  const pick = (event: TargetedPointerEvent<SVGSVGElement>) =>
    setPicked(nearestStep(sorted, stepAt(event.clientX - event.currentTarget.getBoundingClientRect().left)));
  const move = (event: TargetedKeyboardEvent<SVGSVGElement>) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const at =
      picked === null ? sorted.length - 1 : sorted.findIndex((point) => point.step === picked.step) + by;
    setPicked(sorted[Math.min(Math.max(at, 0), sorted.length - 1)] ?? null);
  };

  return (
    <figure class="loss" ref={frame}>
      <figcaption>
        How wrong it is about the next piece of a word, on{" "}
        {SERIES.map(({ key, label }, index) => (
          <span key={key}>
            {index > 0 && " and "}
            <span class={`key ${key}`}>{label}</span>
          </span>
        ))}
        . Lower is better.
      </figcaption>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        tabIndex={0}
        aria-label={described(sorted)}
        onPointerMove={pick}
        onPointerLeave={() => setPicked(null)}
        onKeyDown={move}
        onBlur={() => setPicked(null)}
      >
        {yTicks.map((tick) => (
          <g key={tick}>
            <line class="grid" x1={MARGIN.left} x2={width - MARGIN.right} y1={y(tick)} y2={y(tick)} />
            <text x={MARGIN.left - 8} y={y(tick)} dy="0.32em" text-anchor="end">
              {rounded(tick)}
            </text>
          </g>
        ))}
        {xTicks.map((tick) => (
          <text key={tick} x={x(tick)} y={HEIGHT - 10} text-anchor="middle">
            {tick}
          </text>
        ))}
        {picked !== null && (
          <line
            class="cross"
            x1={x(picked.step)}
            x2={x(picked.step)}
            y1={MARGIN.top}
            y2={HEIGHT - MARGIN.bottom}
          />
        )}
        {SERIES.map(({ key }) => (
          <Line key={key} series={key} points={measured(sorted, key)} x={x} y={y} />
        ))}
      </svg>
      <p class="readout" role="status">
        {readout(picked ?? sorted.at(-1) ?? null)}
      </p>
    </figure>
  );
}

interface LineProps {
  series: Series;
  points: { step: number; loss: number }[];
  x: (step: number) => number;
  y: (loss: number) => number;
}

function Line({ series, points, x, y }: LineProps) {
  const path = points
    .map(({ step, loss }, index) => `${index === 0 ? "M" : "L"}${x(step)},${y(loss)}`)
    .join("");
  // Few measurements far apart: without dots one would not see where they are.
  const dots = series === "validation_loss" || points.length === 1 ? points : [];
  return (
    <g class={`line ${series}`}>
      <path d={path} />
      {dots.map(({ step, loss }) => (
        <circle key={step} cx={x(step)} cy={y(loss)} r={3.5} />
      ))}
    </g>
  );
}

function scales(points: LossPoint[], width: number) {
  const losses = SERIES.flatMap(({ key }) => measured(points, key).map(({ loss }) => loss));
  const yTicks = losses.length === 0 ? [0, 1] : ticks(Math.min(...losses), Math.max(...losses), 4);
  const low = yTicks[0] ?? 0;
  const high = yTicks.at(-1) ?? 1;
  const from = points[0]?.step ?? 0;
  const to = Math.max(points.at(-1)?.step ?? 1, from + 1);
  const plotWidth = Math.max(width - MARGIN.left - MARGIN.right, 1);
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (step: number) => MARGIN.left + ((step - from) / (to - from)) * plotWidth,
    y: (loss: number) => MARGIN.top + ((high - loss) / (high - low)) * plotHeight,
    stepAt: (pixel: number) => from + ((pixel - MARGIN.left) / plotWidth) * (to - from),
    yTicks,
    xTicks: ticks(from, to, 7).filter((tick) => tick >= from && tick <= to && Number.isInteger(tick)),
  };
}

function described(points: LossPoint[]): string {
  const sentences = SERIES.map(({ key, label }) => {
    const known = measured(points, key);
    const [first, last] = [known[0], known.at(-1)];
    if (first === undefined || last === undefined) return `No loss on ${label} yet.`;
    return `Loss on ${label}: ${first.loss.toFixed(2)} at step ${first.step}, ${last.loss.toFixed(2)} at step ${last.step}.`;
  });
  return `Learning curve. ${sentences.join(" ")} The arrow keys read off each step.`;
}

function readout(point: LossPoint | null): string {
  if (point === null) return "";
  const parts = SERIES.flatMap(({ key, label }) => {
    const loss = point[key];
    return typeof loss === "number" ? [`${loss.toFixed(2)} on ${label}`] : [];
  });
  return `Step ${point.step}: ${parts.join(", ") || "not measured"}`;
}

function rounded(tick: number): string {
  return String(Math.round(tick * 100) / 100);
}
