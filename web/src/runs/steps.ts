import { isGoing, type Run, type RunDetail, type StateRecord } from "../contract";

/** The ten steps of a run, in order, as the writer reads them. */
export const STEPS = [
  { name: "Begin", title: "List your stories" },
  { name: "Read", title: "Read them" },
  { name: "Assemble", title: "Prepare the lessons" },
  { name: "StageBaseModel", title: "Fetch the base model" },
  { name: "Train", title: "Train" },
  { name: "Evaluate", title: "Test on unseen stories" },
  { name: "Gate", title: "Compare with what is there" },
  { name: "Register", title: "Record the new version" },
  { name: "Deploy", title: "Bring it to the page" },
  { name: "Announce", title: "Finish" },
] as const;

/** The step between preparing and fetching, of a run that asks before it trains. */
export const APPROVAL = { name: "AwaitApproval", title: "Wait for your yes" } as const;

/** Looking at the version, of a run that trains nothing and only has one answer again. */
const ACTIVATE = { name: "Activate", title: "Look at the version" } as const;

type StepName = (typeof STEPS)[number]["name"];

/** States of the machine that belong to a step without being one; all others not named here decide, not do. */
const BELONGS_TO: Record<string, StepName> = {
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

export type StepState = "waiting" | "running" | "done" | "failed" | "skipped" | "unreached";

export interface Step {
  name: string;
  title: string;
  state: StepState;
  startedAt: string | null;
  /** Seconds it took, all its tries together; null while it runs or when it did not. */
  seconds: number | null;
}

/** How far a run has come: its execution's history folded into the ten steps, and its question if it asks. */
export function stepsOf(run: RunDetail): Step[] {
  const failedStep = run.status === "failed" ? stepName(run.failure?.step ?? run.step ?? "") : null;
  const steps = stepsFor(run);
  // A resumed run did what comes before in an earlier execution.
  const begins = (run.attempt ?? 1) > 1 ? steps.findIndex(({ name }) => isReached(run, name)) : 0;
  return steps.map(({ name, title }, index) => {
    const visits = run.states.filter((state) => stepName(state.name) === name);
    const state = name === failedStep ? "failed" : index < begins ? "done" : stateOf(visits, run, name);
    return {
      name,
      title,
      state,
      startedAt: visits[0]?.started_at ?? null,
      seconds: state === "running" ? null : total(visits),
    };
  });
}

function isReached(run: RunDetail, name: string): boolean {
  return stepName(run.step ?? "") === name || run.states.some((state) => stepName(state.name) === name);
}

function stepsFor(run: RunDetail): readonly { name: string; title: string }[] {
  const activates = run.step === ACTIVATE.name || run.states.some((state) => state.name === ACTIVATE.name);
  if (activates) return [ACTIVATE, ...STEPS.filter(({ name }) => name === "Deploy" || name === "Announce")];
  const asks = run.step === APPROVAL.name || run.states.some((state) => state.name === APPROVAL.name);
  return asks ? STEPS.flatMap<{ name: string; title: string }>((step) => (step.name === "Assemble" ? [step, APPROVAL] : [step])) : STEPS;
}

/** What a run is doing, by the name of its state. */
export function stepTitle(state: string | null | undefined): string {
  const name = stepName(state ?? "");
  return [...STEPS, APPROVAL, ACTIVATE].find((step) => step.name === name)?.title ?? "Starting";
}

function stepName(state: string): string {
  return BELONGS_TO[state] ?? state;
}

function stateOf(visits: StateRecord[], run: Run, name: string): StepState {
  const running = isGoing(run.status);
  if (visits.length === 0) {
    // The record is written before the history shows it.
    if (running && stepName(run.step ?? "") === name) return "running";
    if (running) return "waiting";
    return run.status === "failed" ? "unreached" : "skipped";
  }
  // A question that nobody answered in time is no failure of the run.
  if (visits.some((visit) => /fail|timed|abort/i.test(visit.status)) && run.status === "failed") return "failed";
  const underWay = visits.some((visit) => /run/i.test(visit.status)) || stepName(run.step ?? "") === name;
  return running && underWay ? "running" : "done";
}

function total(visits: StateRecord[]): number | null {
  const times = visits.map((visit) => visit.seconds).filter((seconds) => typeof seconds === "number");
  return times.length === 0 ? null : times.reduce((sum, seconds) => sum + seconds, 0);
}
