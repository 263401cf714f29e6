import type { TargetedKeyboardEvent, TargetedPointerEvent } from "preact";
import { useState } from "preact/hooks";
import type { CostKind, MonthlyCosts } from "../contract";
import { dollars } from "../format";
import { ticks } from "../runs/loss-scale";
import { useWidth } from "../use-width";
import { type Day, KIND_WORDS, KINDS, dayInWords, dayName, lengthOf } from "./words";

/** Pixels around the plot, for the axes' figures. */
const MARGIN = { top: 22, right: 8, bottom: 28, left: 52 };
const HEIGHT = 260;
/** The share of a day's width that its bar takes. */
const BAR_SHARE = 0.72;

interface Props {
  costs: MonthlyCosts;
  /** Every day of the month until now. */
  days: Day[];
}

/** The month's total at the end of each day, stacked by kind, with a line at the limit. */
export function CostsChart({ costs, days }: Props) {
  const [frame, width] = useWidth();
  const [picked, setPicked] = useState<number | null>(null);
  const { x, y, step, yTicks } = scales(costs, width);
  const { limit_usd: limit, reserved_usd: reserved } = costs;
  const shown = KINDS.filter((kind) => (days.at(-1)?.sumByKind[kind] ?? 0) > 0);
  const last = days.at(-1);

  const pick = (event: TargetedPointerEvent<SVGSVGElement>) => {
    const pixel = event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left;
    setPicked(clamped(Math.floor(pixel / step), days.length));
  };
  const move = (event: TargetedKeyboardEvent<SVGSVGElement>) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    setPicked(clamped(picked === null ? days.length - 1 : picked + by, days.length));
  };

  return (
    <figure class="costs-chart" ref={frame}>
      <figcaption>
        What the month had come to by the end of each day, in dollars:
        <Legend kinds={shown} isReserved={reserved > 0} />
      </figcaption>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        tabIndex={0}
        aria-label={described(costs, days)}
        onPointerMove={pick}
        onPointerLeave={() => setPicked(null)}
        onKeyDown={move}
        onBlur={() => setPicked(null)}
      >
        {yTicks.map((tick) => (
          <g key={tick}>
            <line class="grid" x1={MARGIN.left} x2={width - MARGIN.right} y1={y(tick)} y2={y(tick)} />
            <text x={MARGIN.left - 8} y={y(tick)} dy="0.32em" text-anchor="end">
              ${Number(tick.toFixed(2))}
            </text>
          </g>
        ))}
        {dayTicks(lengthOf(costs.month)).map((day) => (
          <text key={day} x={x(day - 1) + step / 2} y={HEIGHT - 8} text-anchor="middle">
            {day}
          </text>
        ))}
        {days.map((day, index) => (
          <Bar
            key={day.date}
            day={day}
            isPicked={index === picked}
            left={x(dayNumber(day) - 1) + (step * (1 - BAR_SHARE)) / 2}
            width={step * BAR_SHARE}
            y={y}
          />
        ))}
        {last !== undefined && reserved > 0 && (
          <rect
            class="reserved"
            x={x(dayNumber(last) - 1) + (step * (1 - BAR_SHARE)) / 2}
            width={step * BAR_SHARE}
            y={y(last.sum + reserved)}
            height={Math.max(y(last.sum) - y(last.sum + reserved), 1)}
          />
        )}
        {limit !== null && (
          <g class="limit">
            <line x1={MARGIN.left} x2={width - MARGIN.right} y1={y(limit)} y2={y(limit)} />
            <text x={MARGIN.left + 4} y={y(limit) - 6}>
              limit {dollars(limit)}
            </text>
          </g>
        )}
      </svg>
      <p class="readout" role="status">
        {readout(picked === null ? last : days[picked])}
      </p>
    </figure>
  );
}

function Legend({ kinds, isReserved }: { kinds: CostKind[]; isReserved: boolean }) {
  return (
    <ul class="legend">
      {kinds.map((kind) => (
        <li key={kind} class={`key kind-${kind}`}>
          {KIND_WORDS[kind]}
        </li>
      ))}
      {isReserved && <li class="key reserved">reserved for what runs now</li>}
    </ul>
  );
}

interface BarProps {
  day: Day;
  isPicked: boolean;
  left: number;
  width: number;
  y: (usd: number) => number;
}

function Bar({ day, isPicked, left, width, y }: BarProps) {
  let below = 0;
  return (
    <g class={isPicked ? "bar picked" : "bar"}>
      {KINDS.map((kind) => {
        const usd = day.sumByKind[kind] ?? 0;
        if (usd <= 0) return null;
        const bottom = y(below);
        below += usd;
        const height = Math.max(bottom - y(below), 0.5);
        return <rect key={kind} class={`kind-${kind}`} x={left} width={Math.max(width, 1)} y={y(below)} height={height} />;
      })}
    </g>
  );
}

function scales(costs: MonthlyCosts, width: number) {
  const most = Math.max(costs.spent_usd + costs.reserved_usd, costs.limit_usd ?? 0, 0.01);
  const yTicks = ticks(0, most, 4);
  const high = Math.max(yTicks.at(-1) ?? most, most);
  const plotWidth = Math.max(width - MARGIN.left - MARGIN.right, 1);
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  const step = plotWidth / lengthOf(costs.month);
  return {
    x: (index: number) => MARGIN.left + index * step,
    y: (usd: number) => MARGIN.top + (1 - usd / high) * plotHeight,
    step,
    yTicks,
  };
}

function dayTicks(length: number): number[] {
  return [1, 5, 10, 15, 20, 25, length];
}

function dayNumber(day: Day): number {
  return Number(day.date.slice(8));
}

function clamped(index: number, length: number): number | null {
  return length === 0 ? null : Math.min(Math.max(index, 0), length - 1);
}

function readout(day: Day | undefined): string {
  return day === undefined ? "" : dayInWords(day);
}

function described(costs: MonthlyCosts, days: Day[]): string {
  const last = days.at(-1);
  const sum = last === undefined ? "" : `${dollars(last.sum)} by ${dayName(last.date)}`;
  const limit = costs.limit_usd === null ? "" : `, under a limit of ${dollars(costs.limit_usd)}`;
  return `The month's costs by day: ${sum}${limit}. The arrow keys read off each day; the table below has them all.`;
}
