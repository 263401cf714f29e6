import type { LossPoint } from "../contract";

export type Series = "train_loss" | "validation_loss";

/** The points of one series that were measured, by step. */
export function measured(points: readonly LossPoint[], series: Series): { step: number; loss: number }[] {
  return points
    .flatMap((point) => {
      const loss = point[series];
      return typeof loss === "number" && Number.isFinite(loss) ? [{ step: point.step, loss }] : [];
    })
    .sort((one, other) => one.step - other.step);
}

/** Round numbers, about `wanted` of them, that cover `low` to `high`. */
export function ticks(low: number, high: number, wanted: number): number[] {
  const span = high > low ? high - low : Math.max(Math.abs(high), 1);
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  // Multiplied out, not added up: sums of decimals drift.
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** The measured step nearest to `step`, or null without any. */
export function nearestStep(points: readonly LossPoint[], step: number): LossPoint | null {
  let best: LossPoint | null = null;
  for (const point of points) {
    if (best === null || Math.abs(point.step - step) < Math.abs(best.step - step)) best = point;
  }
  return best;
}
