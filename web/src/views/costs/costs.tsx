import { useCallback, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import type { MonthlyCosts } from "../../api/contract";
import { ProblemNotice, ScrollingTable } from "../../ui/elements";
import { dollars, instant } from "../../ui/format";
import { usePoll } from "../../ui/hooks";
import { CostsChart } from "./costs-chart";
import styles from "./costs.module.css";
import { type Day, KIND_WORDS, KINDS, dayName, daysOf, monthAfter, monthInWords, monthName } from "./words";

const POLL_SECONDS = 60;

/** Show what a month costs: its sum and its limit, the costs by day and by kind, and the prices. */
export function Costs({ api }: { api: Api }) {
  const today = new Date().toISOString().slice(0, 10); // months begin and end in UTC
  const thisMonth = today.slice(0, 7);
  const [month, setMonth] = useState(thisMonth);
  const { value, problem } = usePoll(
    useCallback((signal: AbortSignal) => api.costs(month, signal), [api, month]),
    () => POLL_SECONDS,
  );
  const costs = value?.month === month ? value : undefined;

  return (
    <>
      <h1>Costs</h1>
      <p class="quiet">
        What Storyloom has spent on AWS machines: training, evaluation, hosting while the storyteller is awake, and batches.
      </p>
      <div class={styles.months} role="group" aria-label="Month">
        <button class="bare" onClick={() => setMonth(monthAfter(month, -1))}>
          ← {monthName(monthAfter(month, -1))}
        </button>
        <h2 aria-live="polite">{monthName(month)}</h2>
        <button class="bare" disabled={month >= thisMonth} onClick={() => setMonth(monthAfter(month, 1))}>
          {monthName(monthAfter(month, 1))} →
        </button>
      </div>
      <ProblemNotice problem={problem} />
      {costs === undefined && problem === null && <p class="quiet">Loading…</p>}
      {costs !== undefined && <Month costs={costs} days={daysOf(costs, today)} />}
    </>
  );
}

function Month({ costs, days }: { costs: MonthlyCosts; days: Day[] }) {
  const isEmpty = costs.spent_usd === 0 && costs.reserved_usd === 0;
  return (
    <>
      <section class="card" aria-label="The month">
        <p class={styles.summary}>{monthInWords(costs)}</p>
        {isEmpty ? (
          <p class="quiet">
            A machine costs something only while it works: for a training, a batch, or the storyteller while it is awake.
          </p>
        ) : (
          <>
            <CostsChart costs={costs} days={days} />
            <DaysTable days={days.filter((day) => day.total > 0)} />
          </>
        )}
        <RaiseLimit costs={costs} />
      </section>
      {!isEmpty && <KindsTable costs={costs} />}
      <Prices costs={costs} />
    </>
  );
}

function RaiseLimit({ costs }: { costs: MonthlyCosts }) {
  const [verb, meaning] =
    costs.limit_usd === null
      ? ["set a limit", "There is no limit."]
      : ["raise the limit", "When the limit is reached, nothing that costs money starts any more, and the storyteller goes to sleep."];
  return (
    <p class="quiet small">
      {meaning} To {verb}, set <code>monthly_limit_usd</code> in <code>cdk.json</code> and deploy again.
    </p>
  );
}

function DaysTable({ days }: { days: Day[] }) {
  const kinds = KINDS.filter((kind) => days.some((day) => (day.spent[kind] ?? 0) > 0));
  if (days.length === 0) return null;
  return (
    <details>
      <summary>Day by day, as a table</summary>
      <ScrollingTable label="Costs day by day">
        <table class={styles.table}>
          <thead>
            <tr>
              <th scope="col">Day (UTC)</th>
              {kinds.map((kind) => (
                <th key={kind} scope="col" class="figure">
                  {KIND_WORDS[kind]}
                </th>
              ))}
              <th scope="col" class="figure">
                total
              </th>
              <th scope="col" class="figure">
                month so far
              </th>
            </tr>
          </thead>
          <tbody>
            {days.map((day) => (
              <tr key={day.date}>
                <th scope="row">{dayName(day.date)}</th>
                {kinds.map((kind) => (
                  <td key={kind} class="figure">
                    {dollars(day.spent[kind] ?? 0)}
                  </td>
                ))}
                <td class="figure">{dollars(day.total)}</td>
                <td class="figure">{dollars(day.sum)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollingTable>
    </details>
  );
}

function KindsTable({ costs }: { costs: MonthlyCosts }) {
  return (
    <section class="card" aria-labelledby="costs-by-kind">
      <h2 id="costs-by-kind">What it was spent on</h2>
      <ScrollingTable label="Costs by kind">
        <table class={styles.table}>
          <thead>
            <tr>
              <th scope="col">For</th>
              <th scope="col" class="figure">
                spent
              </th>
              <th scope="col" class="figure">
                reserved
              </th>
            </tr>
          </thead>
          <tbody>
            {costs.by_kind.map((one) => (
              <tr key={one.kind}>
                <th scope="row">
                  <span class={styles.key} data-kind={one.kind}>
                    {KIND_WORDS[one.kind]}
                  </span>
                </th>
                <td class="figure">{dollars(one.spent_usd)}</td>
                <td class="figure">{dollars(one.reserved_usd)}</td>
              </tr>
            ))}
            <tr class={styles.sum}>
              <th scope="row">total</th>
              <td class="figure">{dollars(costs.spent_usd)}</td>
              <td class="figure">{dollars(costs.reserved_usd)}</td>
            </tr>
          </tbody>
        </table>
      </ScrollingTable>
    </section>
  );
}

function Prices({ costs }: { costs: MonthlyCosts }) {
  return (
    <section class="card" aria-labelledby="prices-used">
      <h2 id="prices-used">Prices</h2>
      <p class="quiet small">
        US dollars per hour, on demand, before tax.{" "}
        {costs.prices_read_at === null
          ? "AWS’s price list has not been read yet; these prices come with the app."
          : `AWS’s price list was last read ${instant(costs.prices_read_at)}.`}
      </p>
      {costs.prices_failure !== null && (
        <p class="notice">
          The last attempt to read it failed, at least in part: {costs.prices_failure}. The earlier prices still apply.
        </p>
      )}
      {costs.unpriced.map(({ kind, instance }) => (
        <p key={`${kind} ${instance}`} class="notice">
          The price of {instance} ({kind}) is not known, so the limit does not let it start. Set one in{" "}
          <code>instance_prices_usd</code>.
        </p>
      ))}
      <ScrollingTable label="Prices as a table">
        <table class={styles.table}>
          <thead>
            <tr>
              <th scope="col">Instance</th>
              <th scope="col">For</th>
              <th scope="col" class="figure">
                per hour
              </th>
              <th scope="col">Source</th>
            </tr>
          </thead>
          <tbody>
            {costs.prices.map((price) => (
              <tr key={`${price.kind} ${price.instance}`}>
                <th scope="row">{price.instance}</th>
                <td>{price.kind}</td>
                <td class="figure">${price.usd_per_hour}</td>
                <td>
                  {price.source}, {price.date}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollingTable>
    </section>
  );
}
