import type { LossPoint } from "../../api/contract";
import { Chart, type Plot, roundTicks } from "../../ui/chart";
import styles from "./loss-chart.module.css";

export type Series = "train_loss" | "validation_loss";

const SERIES: { key: Series; label: string }[] = [
  { key: "train_loss", label: "training stories" },
  { key: "validation_loss", label: "validation stories" },
];

/** Draw the loss over the steps of the training, as far as it is. */
export function LossChart({ points }: { points: LossPoint[] }) {
  const sorted = [...points].sort((one, other) => one.step - other.step);
  const losses = SERIES.flatMap(({ key }) => measured(sorted, key).map(({ loss }) => loss));
  const yTicks = losses.length === 0 ? [0, 1] : roundTicks(Math.min(...losses), Math.max(...losses), 4);
  const from = sorted[0]?.step ?? 0;
  const to = Math.max(sorted.at(-1)?.step ?? 1, from + 1);
  const xTicks = roundTicks(from, to, 7).filter((tick) => tick >= from && tick <= to && Number.isInteger(tick));

  return (
    <Chart
      caption={<Caption />}
      label={summary(sorted)}
      xAxis={{ from, to, ticks: xTicks.map((value) => ({ value, label: String(value) })) }}
      yAxis={{
        from: yTicks[0] ?? 0,
        to: yTicks.at(-1) ?? 1,
        ticks: yTicks.map((value) => ({ value, label: String(Math.round(value * 100) / 100) })),
      }}
      length={sorted.length}
      indexAt={(step) => nearestIndex(sorted, step)}
      describe={(index) => describe(sorted[index])}
    >
      {(plot) => (
        <>
          <Crosshair plot={plot} point={plot.selected === null ? undefined : sorted[plot.selected]} />
          {SERIES.map(({ key }) => (
            <Line key={key} series={key} points={measured(sorted, key)} plot={plot} />
          ))}
        </>
      )}
    </Chart>
  );
}

function Caption() {
  return (
    <>
      Loss, how wrong the model is about each next piece of a word, on{" "}
      {SERIES.map(({ key, label }, index) => (
        <span key={key}>
          {index > 0 && " and "}
          <span class={styles.key} data-series={key}>
            {label}
          </span>
        </span>
      ))}
      . Lower is better.
    </>
  );
}

function Crosshair({ plot, point }: { plot: Plot; point: LossPoint | undefined }) {
  if (point === undefined) return null;
  const x = plot.x(point.step);
  return <line class={styles.crosshair} x1={x} x2={x} y1={plot.top} y2={plot.bottom} />;
}

interface LineProps {
  series: Series;
  points: { step: number; loss: number }[];
  plot: Plot;
}

function Line({ series, points, plot: { x, y } }: LineProps) {
  const path = points
    .map(({ step, loss }, index) => `${index === 0 ? "M" : "L"}${x(step)},${y(loss)}`)
    .join("");
  // The validation loss is measured seldom: dots show when.
  const dots = series === "validation_loss" || points.length === 1 ? points : [];
  return (
    <g class={styles.line} data-series={series}>
      <path d={path} />
      {dots.map(({ step, loss }) => (
        <circle key={step} cx={x(step)} cy={y(loss)} r={3.5} />
      ))}
    </g>
  );
}

/** Return the measured points of one series, in the order of their steps. */
export function measured(points: readonly LossPoint[], series: Series): { step: number; loss: number }[] {
  return points
    .flatMap((point) => {
      const loss = point[series];
      return typeof loss === "number" && Number.isFinite(loss) ? [{ step: point.step, loss }] : [];
    })
    .sort((one, other) => one.step - other.step);
}

/** Return the index of the point nearest to `step`; 0 if there is no point. */
export function nearestIndex(points: readonly LossPoint[], step: number): number {
  const distances = points.map((point) => Math.abs(point.step - step));
  return Math.max(distances.indexOf(Math.min(...distances)), 0);
}

function summary(points: LossPoint[]): string {
  const sentences = SERIES.map(({ key, label }) => {
    const known = measured(points, key);
    const [first, last] = [known[0], known.at(-1)];
    if (first === undefined || last === undefined) return `No loss on ${label} yet.`;
    return `Loss on ${label}: ${first.loss.toFixed(2)} at step ${first.step}, ${last.loss.toFixed(2)} at step ${last.step}.`;
  });
  return `Learning curve. ${sentences.join(" ")} The arrow keys read off each step.`;
}

function describe(point: LossPoint | undefined): string {
  if (point === undefined) return "";
  const parts = SERIES.flatMap(({ key, label }) => {
    const loss = point[key];
    return typeof loss === "number" ? [`${loss.toFixed(2)} on ${label}`] : [];
  });
  return `Step ${point.step}: ${parts.join(", ") || "not measured"}`;
}
