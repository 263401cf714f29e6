import { expect, it } from "vitest";
import { formatsInWords } from "../src/views/stories/formats";

it("names every format that is read, and a new one by its suffix", () => {
  expect(formatsInWords()).toBe(
    "text, Markdown, Word, OpenDocument, RTF, EPUB, PDF, HTML, CSV and other tables, JSON, or a zip of them",
  );
  expect(formatsInWords([".txt", ".fountain", ".zip"])).toBe("text, .fountain, or a zip of them");
  expect(formatsInWords([".md"])).toBe("Markdown");
});
