import type { VersionDecision, VersionStatus } from "../contract";

/** What a version is, in a word or two. */
export const STATUS_WORDS: Record<VersionStatus, string> = {
  pending: "Waits for your yes",
  approved: "Approved",
  rejected: "Rejected",
  live: "Answers",
  previous: "The one before",
  failed: "Could not be hosted",
};

interface Choice {
  decision: VersionDecision;
  label: string;
}

const NO: Choice = { decision: "reject", label: "No, keep it aside" };

/** What a person may do with a version, the likeliest first. */
export const CHOICES: Record<VersionStatus, readonly Choice[]> = {
  pending: [{ decision: "approve", label: "Yes, let it answer" }, NO],
  approved: [{ decision: "activate", label: "Let it answer" }, NO],
  rejected: [{ decision: "approve", label: "Let it answer all the same" }],
  live: [],
  previous: [{ decision: "activate", label: "Go back to it" }],
  failed: [{ decision: "activate", label: "Try it again" }, NO],
};
