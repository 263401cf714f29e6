/** The words for a run's states and results that several views use. */
import type { Run } from "../api/contract";

/** The ten steps of a run, in order, under the names of their states. */
export const STEPS = [
  { name: "Begin", title: "List your stories" },
  { name: "Read", title: "Read the files" },
  { name: "Assemble", title: "Build the dataset" },
  { name: "StageBaseModel", title: "Copy the base model" },
  { name: "Train", title: "Train" },
  { name: "Evaluate", title: "Evaluate on unseen stories" },
  { name: "Gate", title: "Compare with the live version" },
  { name: "Register", title: "Register the new version" },
  { name: "Deploy", title: "Deploy" },
  { name: "Announce", title: "Finish" },
] as const;

/** The step after the dataset of a run that asks before it trains. */
export const APPROVAL = { name: "AwaitApproval", title: "Wait for your approval" } as const;

/** The first step of a run that trains nothing and only activates an earlier version. */
export const ACTIVATE = { name: "Activate", title: "Check the version" } as const;

type StepName = (typeof STEPS)[number]["name"];

/** States that belong to a step of another name. States that only decide belong to none. */
const STEP_OF_STATE: Record<string, StepName> = {
  WaitForEndpoint: "Deploy",
  SmokeTest: "Deploy",
  CollectGarbage: "Deploy",
  Preflight: "Assemble",
  Reserve: "StageBaseModel",
  Tune: "Train",
  TrainAgain: "Train",
  ChooseBest: "Train",
  EvaluateAgain: "Evaluate",
};

/** Return the name of the step that a state belongs to. */
export function stepName(state: string): string {
  return STEP_OF_STATE[state] ?? state;
}

/** Return the title of the step that a state belongs to. */
export function stepTitle(state: string | null | undefined): string {
  const name = stepName(state ?? "");
  return [...STEPS, APPROVAL, ACTIVATE].find((step) => step.name === name)?.title ?? "Starting";
}

/** Return by how many percent the perplexity fell from the base model; null before both are measured. */
export function improvement(run: Pick<Run, "base_perplexity" | "tuned_perplexity">): number | null {
  const { base_perplexity: base, tuned_perplexity: tuned } = run;
  if (base == null || tuned == null || base <= 0) return null;
  return (1 - tuned / base) * 100;
}

/** Write by how much the perplexity fell or rose: `perplexity 34% lower`. */
export function changeInWords(percent: number): string {
  return `perplexity ${Math.abs(Math.round(percent))}% ${percent >= 0 ? "lower" : "higher"}`;
}
