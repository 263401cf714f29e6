import type { ComponentChildren } from "preact";
import type { Problem } from "./api";

/** A problem and what helps, said once and read aloud. */
export function ProblemNotice({
  problem,
  children,
}: {
  problem: Problem | null;
  children?: ComponentChildren;
}) {
  if (problem === null) return null;
  return (
    <div class="notice bad" role="alert">
      <p>
        {problem.message}
        {problem.cure !== null && <> {problem.cure}</>}
      </p>
      {children}
    </div>
  );
}
