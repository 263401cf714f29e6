import formats from "./formats.json";

/**
 * Write the formats that stories may have, for a sentence.
 *
 * `formats.json` is the list of `stories/format_list.py` (`make openapi` writes it).
 *
 * @param names names of formats such as `Markdown`.
 */
export function formatsInWords(names: readonly string[] = Object.keys(formats)): string {
  const others = names.filter((name) => name !== "zip").join(", ");
  return names.includes("zip") ? `${others}, or a zip of them` : others;
}
