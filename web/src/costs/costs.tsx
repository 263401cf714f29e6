import { useCallback, useState } from "preact/hooks";
import type { Api } from "../api";
import type { MonthlyCosts } from "../contract";
import { dollars, instant } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";
import { CostsChart } from "./costs-chart";
import { type Day, KIND_WORDS, KINDS, dayName, daysOf, monthAfter, monthInWords, monthName } from "./words";

/** How often the costs are fetched again. */
const POLL_SECONDS = 60;

/** The view of a month's costs: the total and the limit, the costs by day and by kind, and the prices. */
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
      <p class="quiet lede">
        What Storyloom has spent on machines: training, testing, the storyteller while it is awake, and batches.
      </p>
      <div class="months" role="group" aria-label="Month">
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
        <p class="month-sum">{monthInWords(costs)}</p>
        {isEmpty ? (
          <p class="quiet">
            Machines cost only while they work: a run that trains, a batch, or the storyteller while it is awake.
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
      ? ["set a limit", "There is no limit: nothing stops when a sum is reached."]
      : ["raise the limit", "When the limit is reached, nothing more is started, and the storyteller goes to sleep."];
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
      <div class="wide-table" role="region" aria-label="Costs day by day" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Day (UTC)</th>
              {kinds.map((kind) => (
                <th key={kind} scope="col" class="figure">
                  {KIND_WORDS[kind]}
                </th>
              ))}
              <th scope="col" class="figure">
                that day
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
      </div>
    </details>
  );
}

function KindsTable({ costs }: { costs: MonthlyCosts }) {
  return (
    <section class="card" aria-labelledby="costs-by-kind">
      <h2 id="costs-by-kind">What it was spent on</h2>
      <div class="wide-table" role="region" aria-label="Costs by kind" tabIndex={0}>
        <table>
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
                  <span class={`key kind-${one.kind}`}>{KIND_WORDS[one.kind]}</span>
                </th>
                <td class="figure">{dollars(one.spent_usd)}</td>
                <td class="figure">{dollars(one.reserved_usd)}</td>
              </tr>
            ))}
            <tr class="sum">
              <th scope="row">together</th>
              <td class="figure">{dollars(costs.spent_usd)}</td>
              <td class="figure">{dollars(costs.reserved_usd)}</td>
            </tr>
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Prices({ costs }: { costs: MonthlyCosts }) {
  return (
    <section class="card" aria-labelledby="prices-used">
      <h2 id="prices-used">Prices</h2>
      <p class="quiet small">
        US dollars an hour, on demand, before tax.{" "}
        {costs.prices_read_at === null
          ? "AWS’s price list has not been read yet: these ship with the app."
          : `AWS’s price list was last read ${instant(costs.prices_read_at)}.`}
      </p>
      {costs.prices_failure !== null && (
        <p class="notice">
          AWS’s price list could not be read completely: {costs.prices_failure}. The prices known before stay in use.
        </p>
      )}
      {costs.unpriced.map(({ kind, instance }) => (
        <p key={`${kind} ${instance}`} class="notice">
          No price is known for {instance} ({kind}), so nothing can start on it under a limit. Give one with the
          setting <code>instance_prices_usd</code>.
        </p>
      ))}
      <div class="wide-table" role="region" aria-label="Prices as a table" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Machine</th>
              <th scope="col">For</th>
              <th scope="col" class="figure">
                an hour
              </th>
              <th scope="col">From</th>
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
      </div>
    </section>
  );
}
