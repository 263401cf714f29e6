import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const SOURCE = fileURLToPath(new URL("../src", import.meta.url));
const FILES = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll(sep, "/"));
const MODULES = FILES.filter((file) => /\.tsx?$/.test(file) && file !== "api/openapi.ts");
const read = (file: string) => readFileSync(join(SOURCE, file), "utf8");

/** The layers from the top; a file may import from its own layer and from those below. */
const LAYERS = ["main", "app", "shell", "views", "ui", "api"];

const layerOf = (file: string) => LAYERS.indexOf(file.split(/[/.]/)[0] ?? "");

/** Return which view a file belongs to: a folder in views/, or a file there; null for other files. */
function viewOf(file: string): string | null {
  const [layer, view] = file.split("/");
  return layer === "views" && view !== undefined ? view.split(".")[0] ?? null : null;
}

/** Return the files of src/ that a file imports. */
function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(read(file));
  return importedFiles.flatMap(({ fileName }) => {
    if (!fileName.startsWith(".")) return [];
    const path = relative(SOURCE, join(SOURCE, dirname(file), fileName)).replaceAll(sep, "/");
    const found = [path, `${path}.ts`, `${path}.tsx`].find((candidate) => FILES.includes(candidate));
    if (found === undefined) throw new Error(`${file} imports ${fileName}, which does not exist.`);
    return [found];
  });
}

const IMPORTS = new Map(MODULES.map((file) => [file, importsOf(file)]));

describe("imports", () => {
  it("lead down the layers, never up", () => {
    expect(MODULES.filter((file) => layerOf(file) < 0)).toEqual([]);
    const upward = [...IMPORTS].flatMap(([file, imported]) =>
      imported.filter((other) => layerOf(other) < layerOf(file)).map((other) => `${file} imports ${other}`),
    );
    expect(upward).toEqual([]);
  });

  it("do not lead from one view to another", () => {
    const sideways = [...IMPORTS].flatMap(([file, imported]) =>
      imported
        .filter((other) => viewOf(file) !== null && viewOf(other) !== null && viewOf(other) !== viewOf(file))
        .map((other) => `${file} imports ${other}`),
    );
    expect(sideways).toEqual([]);
  });

  it("have no circles", () => {
    const circles: string[] = [];
    const visit = (file: string, path: string[]) => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
      else for (const other of IMPORTS.get(file) ?? []) visit(other, [...path, file]);
    };
    for (const file of MODULES) visit(file, []);
    expect([...new Set(circles)]).toEqual([]);
  });
});

describe("styles", () => {
  const classesIn = (css: string) => [...css.replace(/\/\*.*?\*\/|:global\([^)]*\)/gs, "").matchAll(/\.([a-z][\w-]*)(?=[^{}]*\{)/gi)].map(([, name]) => name);
  const shared = new Set([...classesIn(read("ui/base.css"))]);

  it("are in CSS modules, but for the tokens and the shared classes", () => {
    const global = FILES.filter((file) => file.endsWith(".css") && !file.endsWith(".module.css"));
    expect(global.sort()).toEqual(["ui/base.css", "ui/tokens.css"]);
  });

  it("have no class that nothing uses, and no use of a class that does not exist", () => {
    const used = new Set<string>();
    const unknown: string[] = [];
    for (const file of MODULES) {
      const source = read(file);
      const modules = (IMPORTS.get(file) ?? []).filter((other) => other.endsWith(".module.css"));
      const own = new Set(modules.flatMap((module) => classesIn(read(module))));
      for (const [, name = ""] of source.matchAll(/styles\.(\w+)/g)) {
        for (const module of modules) used.add(`${module} ${name}`);
        if (!own.has(name)) unknown.push(`${file}: styles.${name}`);
      }
      // class="…" and the fixed part of class={`… ${styles.…}`}; what is computed has no literal to read
      for (const [, literal = "", template = ""] of source.matchAll(/class=(?:"([^"]*)"|\{`([^`]*)`)/g)) {
        for (const name of `${literal} ${template.replace(/\$\{[^}]*\}/g, "")}`.split(/\s+/).filter(Boolean)) {
          used.add(`ui/base.css ${name}`);
          if (!shared.has(name)) unknown.push(`${file}: ${name}`);
        }
      }
      for (const [, name = ""] of source.matchAll(/\? "([a-z-]+)" : undefined|: "([a-z-]+)"\}/g)) used.add(`ui/base.css ${name}`);
    }
    expect(unknown).toEqual([]);
    const defined = FILES.filter((file) => file.endsWith(".css")).flatMap((file) =>
      [...new Set(classesIn(read(file)))].map((name) => `${file} ${name}`),
    );
    expect(defined.filter((name) => !used.has(name))).toEqual([]);
  });
});
