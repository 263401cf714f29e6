import { describe, expect, it } from "vitest";
import type { RunDetail, StateRecord } from "../src/api/contract";
import { roundTicks } from "../src/ui/chart";
import { duration, fileSize } from "../src/ui/format";
import { retryDelay } from "../src/ui/hooks";
import { parseRoute, runHref } from "../src/ui/route";
import { changeInWords, improvement, STEPS, stepTitle } from "../src/ui/run-wording";
import { measured, nearestIndex } from "../src/views/runs/loss-chart";
import { stepsOf } from "../src/views/runs/steps";
import { perplexityInWords, priceInWords, spentInWords, trainingInWords, trialInWords } from "../src/views/runs/words";

const state = (name: string, seconds = 1, status: StateRecord["status"] = "succeeded"): StateRecord => ({
  name,
  status,
  started_at: "2026-09-30T17:00:00.000Z",
  seconds,
});
const run = (fields: Partial<RunDetail>): RunDetail => ({ run_id: "r", status: "running", states: [], ...fields });
const states = (fields: Partial<RunDetail>) =>
  Object.fromEntries(stepsOf(run(fields)).map((step) => [step.name, step.state]));

describe("stepsOf", () => {
  it("shows the three steps of a run that only activates a version", () => {
    const seen = stepsOf(run({ step: "SmokeTest", states: [state("Entry"), state("Activate"), state("Deploy")] }));
    expect(seen.map(({ name, state }) => [name, state])).toEqual([
      ["Activate", "done"],
      ["Deploy", "running"],
      ["Announce", "waiting"],
    ]);
  });

  it("shows the earlier steps of a resumed run as done", () => {
    const seen = states({ attempt: 2, step: "Gate", states: [state("Resume"), state("Evaluate"), state("Gate")] });
    expect(Object.values(seen)).toEqual([...Array(6).fill("done"), "running", "waiting", "waiting", "waiting"]);
    expect(seen.Gate).toBe("running");
  });

  it("shows the ten steps before anything has happened", () => {
    expect(stepsOf(run({ step: null })).map((step) => step.state)).toEqual(Array(10).fill("waiting"));
    expect(STEPS).toHaveLength(10);
  });

  it("follows a run in its training", () => {
    const seen = states({
      step: "Train",
      states: [
        state("Begin"),
        state("AnyStories"),
        state("Read"),
        state("Assemble"),
        state("EnoughText"),
        state("StageBaseModel"),
        state("Staged"),
        state("Train", 40, "running"),
      ],
    });
    expect(seen).toMatchObject({
      StageBaseModel: "done",
      Train: "running",
      Evaluate: "waiting",
      Announce: "waiting",
    });
  });

  it("counts waiting for the endpoint and the smoke test as deploying", () => {
    const all = STEPS.map(({ name }) => state(name, 1));
    const steps = stepsOf(
      run({
        status: "succeeded",
        step: "Announce",
        states: [...all, state("WaitForEndpoint", 20), state("SmokeTest", 2)],
      }),
    );
    expect(steps.find((step) => step.name === "Deploy")).toMatchObject({ state: "done", seconds: 23 });
    expect(steps.every((step) => step.state === "done")).toBe(true);
    const waiting = states({
      step: "WaitForEndpoint",
      states: [...all.slice(0, 9), state("WaitForEndpoint", 3, "running")],
    });
    expect(waiting).toMatchObject({ Deploy: "running", Announce: "waiting" });
  });

  it("shows where a run failed, and what it never reached", () => {
    const seen = states({
      status: "failed",
      step: "RecordFailure",
      failure: { step: "Train", error: "AlgorithmError", cause: "c" },
      states: [state("Begin"), state("Train", 3, "failed"), state("RecordFailure")],
    });
    expect(seen).toMatchObject({
      Begin: "done",
      Train: "failed",
      Evaluate: "unreached",
      Announce: "unreached",
    });
  });

  it("shows the step that failed even if its history is gone", () => {
    expect(states({ status: "failed", failure: { step: "SmokeTest", error: "e", cause: "c" }, states: [] })["Deploy"]).toBe("failed");
  });

  it("shows what a run that ended early did not need", () => {
    const seen = states({
      status: "stopped_early",
      step: "Announce",
      states: [state("Begin"), state("Read"), state("Assemble"), state("StopEarly"), state("Announce")],
    });
    expect(seen).toMatchObject({ Assemble: "done", Train: "skipped", Announce: "done" });
  });

  it("has one more step for a run that asks before it trains", () => {
    const before = [state("Begin"), state("Read"), state("Assemble"), state("TrainAtOnce")];
    const asking = run({
      status: "waiting",
      step: "AwaitApproval",
      states: [...before, state("AwaitApproval", 60, "running")],
    });
    const steps = stepsOf(asking);
    expect(steps.map((step) => step.name).slice(2, 5)).toEqual(["Assemble", "AwaitApproval", "StageBaseModel"]);
    expect(steps.slice(2, 5).map((step) => step.state)).toEqual(["done", "running", "waiting"]);
    expect(stepTitle("AwaitApproval")).toBe("Wait for your approval");
  });

  it("does not show an approval that timed out as a failure", () => {
    const seen = states({
      status: "stopped_early",
      step: "Announce",
      states: [state("Assemble"), state("AwaitApproval", 604800, "failed"), state("Announce")],
    });
    expect(seen).toMatchObject({ AwaitApproval: "done", Train: "skipped", Announce: "done" });
  });

  it("names every state by its step", () => {
    expect(stepTitle("SmokeTest")).toBe(stepTitle("Deploy"));
    expect(stepTitle(undefined)).toBe("Starting");
  });
});

describe("words", () => {
  it("explains perplexity and its change", () => {
    expect(perplexityInWords(27.4, 18.2)).toMatch(/among 27.*perplexity.*among 18.*34% lower/s);
    expect(perplexityInWords(20, 24)).toMatch(/20% higher/);
    expect(perplexityInWords(8.04, 8.01)).toMatch(/among 8\.0.*no real difference/s);
  });

  it("has no improvement before both were measured", () => {
    expect(improvement({ base_perplexity: 20, tuned_perplexity: null })).toBeNull();
    expect(improvement({ base_perplexity: 20, tuned_perplexity: 15 })).toBe(25);
    expect([33.6, -20].map(changeInWords)).toEqual(["perplexity 34% lower", "perplexity 20% higher"]);
  });

  it("says what training would cost", () => {
    const report = { training_minutes_estimate: 12.4, cost_estimate_usd: 0.456, price_date: "2026-09" };
    expect(priceInWords(report)).toBe(
      "Training would take about 12 min 24 s and cost about $0.46 (prices of 2026-09).",
    );
    expect(priceInWords({ ...report, cost_estimate_usd: null })).toMatch(/not known/);
  });

  it("says how much of the training is left", () => {
    expect(trainingInWords({ step: 40, of: 120, seconds: 60, seconds_left: 120 })).toBe("Step 40 of 120, about 2 min left");
    expect(trainingInWords({ step: 0, of: 120, seconds: 0 })).toBe("Step 0 of 120");
    expect(trainingInWords({ step: 120, of: 120, seconds: 60, seconds_left: 0 })).toBe("Step 120 of 120");
  });
});

describe("trialInWords", () => {
  it("says how far a trial is, or how it ended", () => {
    const progress = { step: 11, of: 40, seconds: 20 };
    expect(trialInWords({ status: "running", best: false, progress })).toBe("Step 11 of 40");
    expect(trialInWords({ status: "running", best: false })).toBe("training");
    expect(trialInWords({ status: "stopped", best: false })).toBe("stopped early");
    expect(trialInWords({ status: "succeeded", best: true })).toBe("best so far");
  });
});

describe("loss scale", () => {
  it("covers the data with round numbers", () => {
    expect(roundTicks(2.31, 3.4, 4)).toEqual([2, 2.5, 3, 3.5]);
    expect(roundTicks(2, 2, 4).length).toBeGreaterThan(1);
    const fine = roundTicks(0.011, 0.019, 4);
    expect(fine[0]).toBeLessThanOrEqual(0.011);
    expect(fine.at(-1)).toBeGreaterThanOrEqual(0.019);
  });

  it("skips what was not measured and sorts by step", () => {
    const points = [
      { step: 4, train_loss: 2 },
      { step: 2, train_loss: 3, validation_loss: null },
    ];
    expect(measured(points, "train_loss")).toEqual([
      { step: 2, loss: 3 },
      { step: 4, loss: 2 },
    ]);
    expect(measured(points, "validation_loss")).toEqual([]);
    expect(nearestIndex(points, 3.4)).toBe(0);
    expect(nearestIndex(points, 2.9)).toBe(1);
    expect(nearestIndex([], 1)).toBe(0);
  });
});

describe("the rest", () => {
  it("reads the view from the address, back and forth", () => {
    expect(parseRoute("")).toEqual({ view: "chat" });
    expect(parseRoute("#/stories")).toEqual({ view: "stories" });
    expect(parseRoute("#/runs")).toEqual({ view: "runs" });
    expect(parseRoute(runHref("20260930-170000-beef"))).toEqual({
      view: "run",
      runId: "20260930-170000-beef",
    });
    expect(parseRoute("#/nonsense")).toEqual({ view: "chat" });
  });

  it("asks less often the longer something fails", () => {
    expect([0, 1, 2, 9].map((failures) => retryDelay(failures, 5, null))).toEqual([5, 10, 20, 60]);
    expect(retryDelay(1, 5, 30)).toBe(30);
    expect(retryDelay(1, 5, 900)).toBe(60);
  });

  it("writes durations and sizes as people do", () => {
    expect([0.2, 45, 200, 3600, 4000].map(duration)).toEqual([
      "under 1 s",
      "45 s",
      "3 min 20 s",
      "1 h",
      "1 h 6 min",
    ]);
    expect([0, 2048, 1_572_864, 52_428_800].map(fileSize)).toEqual(["0 B", "2 KB", "1.5 MB", "50 MB"]);
  });
});

describe("spentInWords", () => {
  it("says what the training has cost", () => {
    const progress = { step: 4, of: 9, seconds: 60, cost_usd: 0.021 };
    expect(spentInWords(run({ progress, states: [state("Train")] }))).toContain("about $0.02 so far");
    const search = { of: 6, trials: [], cost_usd: 0.42 };
    expect(spentInWords(run({ search, states: [state("Tune")] }))).toContain("about $0.42 so far");
  });

  it("says that nothing is spent before it trains, and afterwards if it is not known", () => {
    expect(spentInWords(run({ states: [state("Begin"), state("Read")] }))).toContain("Nothing has been spent");
    expect(spentInWords(run({ states: [state("Train")] }))).toContain("is not known");
    expect(spentInWords(run({ states: [state("Tune")] }))).toContain("is not known");
  });
});
