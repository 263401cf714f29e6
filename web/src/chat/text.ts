/** Split a story into its paragraphs. Single line breaks stay: dialogue and verse need them. */
export function paragraphs(text: string): string[] {
  return text
    .split(/\n[ \t]*\n\s*/)
    .map((paragraph) => paragraph.replace(/^\n+|\s+$/g, ""))
    .filter((paragraph) => paragraph !== "");
}

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

/**
 * The sentences that are complete while a text is still growing; all of them once it has ended.
 *
 * A screen reader that is told each token as it comes stutters; one that is told sentences reads along.
 */
export function completeSentences(text: string, ended: boolean): string[] {
  const sentences = Array.from(segmenter.segment(text), ({ segment }) => segment);
  return (ended ? sentences : sentences.slice(0, -1)).map((s) => s.trim()).filter((s) => s !== "");
}
