import { isActive, type Run, type RunDetail, type StateRecord } from "../../api/contract";
import { ACTIVATE, APPROVAL, stepName, STEPS } from "../../ui/run-wording";

export type StepState = "waiting" | "running" | "done" | "failed" | "skipped" | "unreached";

export interface Step {
  name: string;
  title: string;
  state: StepState;
  startedAt: string | null;
  /** Seconds that it took, all attempts together; null while it runs and if it did not run. */
  seconds: number | null;
}

/** Return how far each step of a run is, from the history of its execution. */
export function stepsOf(run: RunDetail): Step[] {
  const failedStep = run.status === "failed" ? stepName(run.failure?.step ?? run.step ?? "") : null;
  const steps = stepsFor(run);
  // The steps before were done in an earlier execution of a resumed run.
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
  if (!asks) return STEPS;
  return STEPS.flatMap<{ name: string; title: string }>((step) => (step.name === "Assemble" ? [step, APPROVAL] : [step]));
}

function stateOf(visits: StateRecord[], run: Run, name: string): StepState {
  const running = isActive(run.status);
  if (visits.length === 0) {
    // The run's record is written before the history shows the state.
    if (running && stepName(run.step ?? "") === name) return "running";
    if (running) return "waiting";
    return run.status === "failed" ? "unreached" : "skipped";
  }
  // An approval that timed out is not a failure of the run.
  if (visits.some((visit) => /fail|timed|abort/i.test(visit.status)) && run.status === "failed") return "failed";
  const isInProgress = visits.some((visit) => /run/i.test(visit.status)) || stepName(run.step ?? "") === name;
  return running && isInProgress ? "running" : "done";
}

function total(visits: StateRecord[]): number | null {
  const times = visits.map((visit) => visit.seconds).filter((seconds) => typeof seconds === "number");
  return times.length === 0 ? null : times.reduce((sum, seconds) => sum + seconds, 0);
}
