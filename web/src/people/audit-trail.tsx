import { useCallback } from "preact/hooks";
import type { Api } from "../api";
import { instant } from "../format";
import { ProblemNotice } from "../notices";
import { usePoll } from "../poll";

/** The table of who changed what, newest first. */
export function AuditTrail({ api }: { api: Api }) {
  const trail = usePoll(
    useCallback((signal: AbortSignal) => api.auditTrail(signal), [api]),
    () => 60,
  );
  return (
    <section aria-labelledby="audit-title">
      <h2 id="audit-title">What was changed</h2>
      <p class="quiet">The newest 50 entries; the command line shows all, for a year: storyloom audit.</p>
      <ProblemNotice problem={trail.problem} />
      {trail.value?.length === 0 && <p class="quiet">Nothing yet.</p>}
      {trail.value !== undefined && trail.value.length > 0 && (
        <div class="trials" tabIndex={0} role="region" aria-label="Audit trail">
          <table class="audit">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">Did</th>
                <th scope="col">To</th>
                <th scope="col">Status</th>
              </tr>
            </thead>
            <tbody>
              {trail.value.map((entry) => (
                <tr key={entry.entry_id}>
                  <td>{instant(entry.at)}</td>
                  <td>{entry.principal_name}</td>
                  <td>
                    <code>{entry.action}</code>
                  </td>
                  <td>{entry.object}</td>
                  <td>{entry.count === 1 ? entry.status : `${entry.status}, ${entry.count} times`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
