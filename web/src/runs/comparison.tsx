import { perplexityInWords } from "./words";

interface Props {
  base: number;
  tuned: number;
  /** The storyteller that answered when the run began, or null. */
  live: number | null;
  version: string | null;
  /** Of the evaluation as a page. */
  url: string | null;
}

/** How unsure each model was of stories it had never seen: bars, figures and a sentence. */
export function Comparison({ base, tuned, live, version, url }: Props) {
  const rows = [
    { key: "base", label: "Base model", value: base },
    ...(live === null ? [] : [{ key: "live", label: "Storyteller before", value: live }]),
    {
      key: "tuned",
      label: version === null ? "New storyteller" : `New storyteller, ${version}`,
      value: tuned,
    },
  ];
  const widest = Math.max(...rows.map((row) => row.value));
  return (
    <section class="card">
      <h2>Did it learn your voice?</h2>
      <p>{perplexityInWords(base, tuned)}</p>
      {url !== null && (
        <p>
          <a href={url} target="_blank" rel="noopener noreferrer">
            The whole evaluation<span class="unseen"> (opens in a new tab)</span>
          </a>
        </p>
      )}
      <table class="bars">
        <caption>Perplexity on unseen stories; lower is better</caption>
        <tbody>
          {rows.map(({ key, label, value }) => (
            <tr key={key} data-model={key}>
              <th scope="row">{label}</th>
              <td class="bar">
                <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                  <rect width={(value / widest) * 100} height="10" rx="1" />
                </svg>
              </td>
              <td class="figure">{value.toFixed(1)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
