import { expect, it } from "vitest";
import { formatsInWords } from "../src/views/stories/formats";

it("names every format that is read, and a zip last", () => {
  expect(formatsInWords()).toBe(
    "text, Markdown, Word, OpenDocument, RTF, EPUB, PDF, HTML, CSV, TSV, JSON, JSON Lines, or a zip of them",
  );
  expect(formatsInWords(["text", "zip", "Fountain"])).toBe("text, Fountain, or a zip of them");
  expect(formatsInWords(["Markdown"])).toBe("Markdown");
});
