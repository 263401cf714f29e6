import type { DataReport, Reject } from "../../api/contract";
import { count, counted, dollars, duration, language } from "../../ui/format";
import styles from "./data-report.module.css";

/** Show what a run found in the stories: how much, what was rejected and why, how they are split. */
export function DataReportCard({ report, url }: { report: DataReport; url: string | null }) {
  return (
    <section class="card">
      <h2>Your stories</h2>
      <p>{report.verdict}</p>
      {url !== null && (
        <p>
          <a href={url} target="_blank" rel="noopener noreferrer">
            The whole report<span class="unseen"> (opens in a new tab)</span>
          </a>
        </p>
      )}
      <dl class={styles.tiles}>
        <Tile label="files read" value={count(report.files)} />
        <Tile label="stories" value={count(report.stories)} />
        <Tile label="words" value={count(report.words)} />
        <Tile label="rejected" value={count(report.rejected.length)} bad={report.rejected.length > 0} />
      </dl>
      <Rejected rejects={report.rejected} />
      <Duplicates report={report} />
      {report.enough && <Split report={report} />}
      <Languages languages={report.languages} />
      {report.enough && (
        <p class="quiet small">
          Training was estimated to take {duration(report.training_minutes_estimate * 60)}
          {report.cost_estimate_usd !== null &&
            ` and cost ${dollars(report.cost_estimate_usd)} on demand (prices of ${report.price_date})`}
          .
        </p>
      )}
    </section>
  );
}

function Tile({ label, value, bad = false }: { label: string; value: string; bad?: boolean }) {
  return (
    <div class={bad ? `${styles.tile} ${styles.warning}` : styles.tile}>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Rejected({ rejects }: { rejects: Reject[] }) {
  if (rejects.length === 0) return null;
  return (
    <div>
      <h3 id="rejects-title">What could not be used, and what helps</h3>
      <ul class={styles.rejects} aria-labelledby="rejects-title">
        {rejects.map((reject) => (
          <li key={`${reject.source_key} ${reject.entry}`}>
            <strong>
              {reject.source_key}
              {reject.entry !== null && ` › ${reject.entry}`}
            </strong>
            <br />
            {reject.reason} <span class="quiet">{reject.cure}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Duplicates({ report: { duplicates } }: { report: DataReport }) {
  if (duplicates.length === 0) return null;
  return (
    <details>
      <summary>
        {counted(duplicates.length, "story was", "stories were")} left out as a duplicate
      </summary>
      <ul>
        {duplicates.map(({ kept, dropped, kind, similarity }) => (
          <li key={dropped}>
            {dropped} is {likeness(kind, similarity)} {kept}
          </li>
        ))}
      </ul>
    </details>
  );
}

function likeness(kind: DataReport["duplicates"][number]["kind"], similarity: number): string {
  if (kind === "exact") return "the same as";
  return kind === "part" ? "a part of" : `${Math.round(similarity * 100)}% like`;
}

function Split({ report: { split } }: { report: DataReport }) {
  const rows = [
    { label: "Training", part: split.train },
    { label: "Validation, measured while it trains", part: split.validation },
    { label: "Test, unseen until the evaluation", part: split.test },
  ];
  return (
    <table>
      <caption>How the stories are split; no story is in two parts</caption>
      <thead>
        <tr>
          <th scope="col">Part</th>
          <th scope="col" class="figure">
            Stories
          </th>
          <th scope="col" class="figure">
            Words
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ label, part }) => (
          <tr key={label}>
            <th scope="row">{label}</th>
            <td class="figure">{count(part.stories)}</td>
            <td class="figure">{count(part.words)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Languages({ languages }: { languages: Record<string, number> }) {
  const known = Object.entries(languages).sort(([, one], [, other]) => other - one);
  if (known.length < 2) return null; // one language needs no mention
  return (
    <p class="quiet small">
      Languages: {known.map(([code, stories]) => `${language(code)} (${count(stories)})`).join(", ")}
    </p>
  );
}
