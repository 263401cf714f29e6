import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";
import { expect, it } from "vitest";

const DOCUMENT = new URL("../../docs/openapi.json", import.meta.url);
const TYPES = fileURLToPath(new URL("../src/api/openapi.ts", import.meta.url));

it("has the types that docs/openapi.json says; `npm run contract` writes them again", async () => {
  const types = astToString(await openapiTS(DOCUMENT, { defaultNonNullable: false }));
  expect(await readFile(TYPES, "utf8")).toBe(`${COMMENT_HEADER}${types}`);
}, 60_000); // it loads a whole compiler, and a busy machine may take its time
