import suffixes from "./formats.json";

/** The name of each format, in the order in which people read them; `.zip` is named apart. */
const NAMES: [name: string, ...suffixes: string[]][] = [
  ["text", ".txt", ".text"],
  ["Markdown", ".md", ".markdown"],
  ["Word", ".docx", ".docm", ".dotx", ".dotm"],
  ["OpenDocument", ".odt", ".ott"],
  ["RTF", ".rtf"],
  ["EPUB", ".epub"],
  ["PDF", ".pdf"],
  ["HTML", ".html", ".htm", ".xhtml"],
  ["CSV and other tables", ".csv", ".tsv", ".tab"],
  ["JSON", ".json", ".jsonl", ".ndjson"],
];

/**
 * Write the formats that stories may have, for a sentence.
 *
 * `formats.json` lists the suffixes that `stories/` reads (`make openapi` writes it). One without a name here is
 * written as it is.
 *
 * @param known suffixes such as `.txt`.
 */
export function formatsInWords(known: readonly string[] = suffixes): string {
  const named = NAMES.filter(([, ...own]) => own.some((suffix) => known.includes(suffix)));
  const unnamed = known.filter((suffix) => suffix !== ".zip" && !NAMES.some(([, ...own]) => own.includes(suffix)));
  const names = [...named.map(([name]) => name), ...unnamed].join(", ");
  return known.includes(".zip") ? `${names}, or a zip of them` : names;
}
