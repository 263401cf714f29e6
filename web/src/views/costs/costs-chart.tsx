import type { CostKind, MonthlyCosts } from "../../api/contract";
import { Chart, type Plot, roundTicks } from "../../ui/chart";
import { dollars } from "../../ui/format";
import styles from "./costs.module.css";
import { type Day, dayInWords, dayName, daysIn, KIND_WORDS, KINDS } from "./words";

/** How much of a day's width its bar takes. */
const BAR_SHARE = 0.72;

interface Props {
  costs: MonthlyCosts;
  /** Every day of the month until now. */
  days: Day[];
}

/** Draw what the month had cost by the end of each day, stacked by kind, with a line at the limit. */
export function CostsChart({ costs, days }: Props) {
  const { limit_usd: limit, reserved_usd: reserved } = costs;
  const length = daysIn(costs.month);
  const highest = Math.max(costs.spent_usd + reserved, limit ?? 0, 0.01);
  const yTicks = roundTicks(0, highest, 4);
  const last = days.at(-1);

  return (
    <Chart
      caption={<Legend kinds={KINDS.filter((kind) => (last?.sumByKind[kind] ?? 0) > 0)} isReserved={reserved > 0} />}
      label={summary(costs, days)}
      xAxis={{
        from: 0,
        to: length,
        ticks: [1, 5, 10, 15, 20, 25, length].map((day) => ({ value: day - 0.5, label: String(day) })),
      }}
      yAxis={{
        from: 0,
        to: Math.max(yTicks.at(-1) ?? highest, highest),
        ticks: yTicks.map((value) => ({ value, label: `$${Number(value.toFixed(2))}` })),
      }}
      length={days.length}
      indexAt={Math.floor}
      describe={(index) => dayInWords(days[index])}
    >
      {(plot) => (
        <>
          {days.map((day, index) => (
            <Bar key={day.date} day={day} isSelected={index === plot.selected} plot={plot} />
          ))}
          {last !== undefined && reserved > 0 && <Reserved day={last} usd={reserved} plot={plot} />}
          {limit !== null && (
            <g class={styles.limit} data-part="limit">
              <line x1={plot.left} x2={plot.right} y1={plot.y(limit)} y2={plot.y(limit)} />
              <text x={plot.left + 4} y={plot.y(limit) - 6}>
                limit {dollars(limit)}
              </text>
            </g>
          )}
        </>
      )}
    </Chart>
  );
}

function Legend({ kinds, isReserved }: { kinds: CostKind[]; isReserved: boolean }) {
  return (
    <>
      <span class="quiet small">Spent since the month began, by the end of each day:</span>
      <ul class={styles.legend}>
        {kinds.map((kind) => (
          <li key={kind} class={styles.key} data-kind={kind}>
            {KIND_WORDS[kind]}
          </li>
        ))}
        {isReserved && (
          <li class={styles.key} data-kind="reserved">
            reserved for what is running now
          </li>
        )}
      </ul>
    </>
  );
}

/** Return where the bar of a day stands, in pixels from the left. */
function barPlace(day: Day, { x }: Plot): { x: number; width: number } {
  const index = Number(day.date.slice(8)) - 1;
  const [left, right] = [x(index), x(index + 1)];
  const width = (right - left) * BAR_SHARE;
  return { x: left + (right - left - width) / 2, width: Math.max(width, 1) };
}

function Bar({ day, isSelected, plot }: { day: Day; isSelected: boolean; plot: Plot }) {
  let below = 0;
  return (
    <g class={isSelected ? `${styles.bar} ${styles.selected}` : styles.bar} data-day={day.date}>
      {KINDS.map((kind) => {
        const usd = day.sumByKind[kind] ?? 0;
        if (usd <= 0) return null;
        const bottom = plot.y(below);
        below += usd;
        const height = Math.max(bottom - plot.y(below), 0.5);
        return <rect key={kind} data-kind={kind} {...barPlace(day, plot)} y={plot.y(below)} height={height} />;
      })}
    </g>
  );
}

function Reserved({ day, usd, plot }: { day: Day; usd: number; plot: Plot }) {
  const top = plot.y(day.sum + usd);
  const height = Math.max(plot.y(day.sum) - top, 1);
  return <rect class={styles.reserved} data-part="reserved" {...barPlace(day, plot)} y={top} height={height} />;
}

function summary(costs: MonthlyCosts, days: Day[]): string {
  const last = days.at(-1);
  const sum = last === undefined ? "" : `${dollars(last.sum)} by ${dayName(last.date)}`;
  const limit = costs.limit_usd === null ? "" : `, under a limit of ${dollars(costs.limit_usd)}`;
  return `The month's costs by day: ${sum}${limit}. The arrow keys read off each day; the table below has them all.`;
}
