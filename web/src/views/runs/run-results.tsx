/** What a run measured: its versions compared, and the trials of its search. */
import type { Search, Trial } from "../../api/contract";
import { ScrollingTable } from "../../ui/elements";
import { count, dollars, duration } from "../../ui/format";
import styles from "./runs.module.css";
import { perplexityInWords, trialInWords } from "./words";

interface ComparisonProps {
  base: number;
  tuned: number;
  /** Perplexity of the version that was live when the run began, or null. */
  live: number | null;
  version: string | null;
  /** Address of the evaluation as a page, or null. */
  url: string | null;
}

/** Compare the perplexities of base model, live version and new version: a sentence, bars and figures. */
export function Comparison({ base, tuned, live, version, url }: ComparisonProps) {
  const rows = [
    { key: "base", label: "Base model", value: base },
    ...(live === null ? [] : [{ key: "live", label: "Live version before", value: live }]),
    { key: "tuned", label: version === null ? "New version" : `New version, ${version}`, value: tuned },
  ];
  const highest = Math.max(...rows.map((row) => row.value));
  return (
    <section class="card">
      <h2>Did it learn your voice?</h2>
      <p>{perplexityInWords(base, tuned)}</p>
      {url !== null && (
        <p>
          <a href={url} target="_blank" rel="noopener noreferrer">
            The whole evaluation<span class="unseen"> (opens in a new tab)</span>
          </a>
        </p>
      )}
      <table class={styles.bars}>
        <caption>Perplexity on unseen stories; lower is better</caption>
        <tbody>
          {rows.map(({ key, label, value }) => (
            <tr key={key} data-model={key}>
              <th scope="row">{label}</th>
              <td>
                <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                  <rect width={(value / highest) * 100} height="10" rx="1" />
                </svg>
              </td>
              <td class="figure">{value.toFixed(1)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Show the trials of a search: the settings of each, and its validation loss. */
export function SearchTable({ search }: { search: Search }) {
  return (
    <section class="card">
      <h2>Hyperparameter search</h2>
      <p>
        The same stories, trained with different settings: trial {count(search.trials.length)} of at most{" "}
        {count(search.of)}. The trial with the lowest validation loss becomes the new version.
        {search.cost_usd != null && <> All trials together have cost about {dollars(search.cost_usd)} so far.</>}
      </p>
      <ScrollingTable label="Trials">
        <table class={styles.trials}>
          <caption>Validation loss, measured on stories that are not trained on; lower is better</caption>
          <thead>
            <tr>
              <th scope="col">Trial</th>
              <th scope="col">Rank</th>
              <th scope="col">Learning rate</th>
              <th scope="col">Epochs</th>
              <th scope="col">Validation loss</th>
              <th scope="col">Time</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {search.trials.map((trial, index) => (
              <TrialRow key={index} number={index + 1} trial={trial} />
            ))}
          </tbody>
        </table>
      </ScrollingTable>
    </section>
  );
}

function TrialRow({ number, trial }: { number: number; trial: Trial }) {
  return (
    <tr data-best={trial.best}>
      <th scope="row">{number}</th>
      <td>{trial.lora_rank}</td>
      <td>{Number(trial.learning_rate.toPrecision(2))}</td>
      <td>up to {trial.epochs}</td>
      <td>{trial.validation_loss?.toFixed(3)}</td>
      <td>{trial.seconds > 0 && duration(trial.seconds)}</td>
      <td>{trialInWords(trial)}</td>
    </tr>
  );
}
