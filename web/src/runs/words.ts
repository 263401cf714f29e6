import type { DataReport, Run, RunDetail, RunStatus, TrainingProgress, Trial } from "../contract";
import { count, dollars, duration } from "../format";

/** What became of a run, in a word or two. */
export const STATUS_WORDS: Record<RunStatus, string> = {
  running: "Running",
  waiting: "Waits for you",
  succeeded: "Succeeded",
  not_better: "Not better",
  pending_approval: "Waits for you",
  stopped_early: "Stopped early",
  declined: "Declined",
  superseded: "Replaced",
  failed: "Failed",
};

/** By how many percent the tuned model is less surprised than the base; null before both were measured. */
export function improvement(run: Pick<Run, "base_perplexity" | "tuned_perplexity">): number | null {
  const { base_perplexity: base, tuned_perplexity: tuned } = run;
  if (base == null || tuned == null || base <= 0) return null;
  return (1 - tuned / base) * 100;
}

/** The perplexities in a sentence for somebody who has never met the word. */
export function perplexityInWords(base: number, tuned: number): string {
  const choices = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());
  const change = improvement({ base_perplexity: base, tuned_perplexity: tuned }) ?? 0;
  const how =
    `Reading stories of yours that it had never seen, the base model was as unsure of each next piece of a word ` +
    `as if it had to choose among ${choices(base)}; your storyteller chose among ${choices(tuned)}.`;
  if (change >= 1) return `${how} It is ${Math.round(change)}% less surprised by your way of writing.`;
  if (change <= -1) return `${how} It is ${Math.round(-change)}% more surprised: this training did not help.`;
  return `${how} That is no real difference.`;
}

/** What training would take and cost, before any of it is spent. */
export function priceInWords(
  report: Pick<DataReport, "training_minutes_estimate" | "cost_estimate_usd" | "price_date">,
): string {
  const takes = `Training would take about ${duration(report.training_minutes_estimate * 60)}`;
  const { cost_estimate_usd: cost } = report;
  if (cost == null) return `${takes}; what it costs is not known, since we have no price for this machine.`;
  return `${takes} and cost about ${dollars(cost)} (prices of ${report.price_date}).`;
}

/** States in which a run pays for machines of its own. */
const BILLED = ["Train", "Tune", "Evaluate"];

/** What a run that is going has cost so far. */
export function spentInWords({
  progress,
  search,
  states,
}: Pick<RunDetail, "progress" | "search" | "states">): string {
  const cost = search?.cost_usd ?? progress?.cost_usd;
  if (cost != null) {
    return `Its training has cost about ${dollars(cost)} so far, and costs no more once it is stopped.`;
  }
  if (!states.some((state) => BILLED.includes(state.name))) return "Nothing has been spent on a machine to train yet.";
  return "What it has cost so far is not known here; it costs no more once it is stopped.";
}

/** How far the training is, in words. */
export function trainingInWords({ step, of, seconds_left: left }: TrainingProgress): string {
  const where = `Step ${count(step)} of ${count(of)}`;
  return left == null || left < 1 ? where : `${where}, about ${duration(left)} left`;
}

const TRIAL_WORDS: Record<Trial["status"], string> = {
  running: "trains",
  succeeded: "done",
  stopped: "stopped early: it fell behind",
  failed: "failed",
};

/** What a trial of a search is doing, or how it ended. */
export function trialInWords({ status, best, progress }: Pick<Trial, "status" | "best" | "progress">): string {
  if (best) return "the best so far";
  return status === "running" && progress ? trainingInWords(progress) : TRIAL_WORDS[status];
}
