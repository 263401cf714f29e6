import type { DataReport, RunDetail, RunStatus, TrainingProgress, Trial } from "../../api/contract";
import { count, dollars, duration } from "../../ui/format";
import { improvement } from "../../ui/run-wording";

/** How each status of a run reads. */
export const STATUS_WORDS: Record<RunStatus, string> = {
  running: "Running",
  waiting: "Waiting for approval",
  succeeded: "Succeeded",
  not_better: "Not better",
  pending_approval: "Waiting for approval",
  stopped_early: "Stopped early",
  declined: "Declined",
  superseded: "Superseded",
  failed: "Failed",
};

/** Explain how far the new version is ahead of the base model, for somebody who has never met the term. */
export function perplexityInWords(base: number, tuned: number): string {
  const choices = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());
  const change = improvement({ base_perplexity: base, tuned_perplexity: tuned }) ?? 0;
  const figures =
    `Reading stories of yours that it had not seen, the base model was as unsure of each next piece of a word as if it ` +
    `had to choose among ${choices(base)} (its perplexity); your storyteller chose among ${choices(tuned)}.`;
  if (change >= 1) return `${figures} It knows your voice: its perplexity is ${Math.round(change)}% lower.`;
  if (change <= -1) return `${figures} Its perplexity is ${Math.round(-change)}% higher: this training did not help.`;
  return `${figures} That is no real difference.`;
}

/** Estimate how long the training would take and what it would cost. */
export function priceInWords(
  report: Pick<DataReport, "training_minutes_estimate" | "cost_estimate_usd" | "price_date">,
): string {
  const takes = `Training would take about ${duration(report.training_minutes_estimate * 60)}`;
  const { cost_estimate_usd: cost } = report;
  if (cost == null) return `${takes}; its cost is not known, because this instance has no known price.`;
  return `${takes} and cost about ${dollars(cost)} (prices of ${report.price_date}).`;
}

/** States that run on machines of their own, which are billed. */
const BILLED_STATES = ["Train", "Tune", "Evaluate"];

/** Say what an active run has cost so far. */
export function spentInWords({
  progress,
  search,
  states,
}: Pick<RunDetail, "progress" | "search" | "states">): string {
  const cost = search?.cost_usd ?? progress?.cost_usd;
  if (cost != null) {
    return `Its training has cost about ${dollars(cost)} so far; stopping it ends the cost.`;
  }
  if (!states.some((state) => BILLED_STATES.includes(state.name))) return "Nothing has been spent on training yet.";
  return "What it has cost so far is not known here; stopping it ends the cost.";
}

/** Say how far the training is: `Step 40 of 120, about 2 min left`. */
export function trainingInWords({ step, of, seconds_left: left }: TrainingProgress): string {
  const position = `Step ${count(step)} of ${count(of)}`;
  return left == null || left < 1 ? position : `${position}, about ${duration(left)} left`;
}

const TRIAL_WORDS: Record<Trial["status"], string> = {
  running: "training",
  succeeded: "done",
  stopped: "stopped early",
  failed: "failed",
};

/** Say how far a trial of a search is, or how it ended. */
export function trialInWords({ status, best, progress }: Pick<Trial, "status" | "best" | "progress">): string {
  if (best) return "best so far";
  return status === "running" && progress ? trainingInWords(progress) : TRIAL_WORDS[status];
}
