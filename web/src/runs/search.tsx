import type { Search, Trial } from "../contract";
import { count, dollars, duration } from "../format";
import { trialInWords } from "./words";

/** The trials of a search: what each tried, and how well it learnt. */
export function SearchTable({ search }: { search: Search }) {
  return (
    <section class="card">
      <h2>Search</h2>
      <p>
        The same stories, learnt with different settings: trial {count(search.trials.length)} of at most{" "}
        {count(search.of)}. The one that is least surprised by the stories held back goes on.
        {search.cost_usd != null && <> All trials together have cost about {dollars(search.cost_usd)} so far.</>}
      </p>
      <div class="trials" tabIndex={0} role="region" aria-label="Trials">
        <table>
          <caption>Loss on stories held back; lower is better</caption>
          <thead>
            <tr>
              <th scope="col">Trial</th>
              <th scope="col">Rank</th>
              <th scope="col">Learning rate</th>
              <th scope="col">Epochs</th>
              <th scope="col">Loss</th>
              <th scope="col">Time</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {search.trials.map((trial, place) => (
              <Row key={place} number={place + 1} trial={trial} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Row({ number, trial }: { number: number; trial: Trial }) {
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
