import { defineConfig } from "vitest/config";

// `npm run dev` shows the page with live reload; API, sign-in and uploads go to a running local cloud.
const frontDoor = process.env["STORYLOOM_FRONT_DOOR"] ?? "http://localhost:8400";

export default defineConfig({
  build: {
    target: "es2023",
    // The page's content security policy allows files of its own origin only: nothing may be inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: { "/api": frontDoor, "/aws": frontDoor, "/config.json": frontDoor },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    // The files share one worker: to start one for each took longer than the tests.
    isolate: false,
  },
});
