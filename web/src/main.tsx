import { render } from "preact";
import { Cognito } from "./api/cognito";
import { Session } from "./api/session";
import { App } from "./app";

/** The fields of `config.json`, which the Chat stack writes beside the page. */
interface PageConfig {
  region: string;
  user_pool_client_id: string;
  /** Cognito's public endpoint, such as `https://cognito-idp.eu-west-1.amazonaws.com/`. */
  cognito_endpoint: string;
}

async function start(root: HTMLElement): Promise<void> {
  try {
    const config = await loadConfig();
    const session = new Session(new Cognito(config.cognito_endpoint, config.user_pool_client_id));
    render(<App session={session} />, root);
  } catch (error) {
    render(
      <p class="page-notice" role="alert">
        {error instanceof Error ? error.message : String(error)}
      </p>,
      root,
    );
  }
}

async function loadConfig(): Promise<PageConfig> {
  const response = await fetch("/config.json", { cache: "no-cache" });
  const config: unknown = response.ok ? await response.json().catch(() => null) : null;
  if (!isPageConfig(config)) {
    throw new Error(
      "This page cannot find its sign-in: config.json is missing or incomplete. Deploy the Chat stack again and reload.",
    );
  }
  return config;
}

function isPageConfig(value: unknown): value is PageConfig {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  return ["region", "user_pool_client_id", "cognito_endpoint"].every(
    (name) => typeof fields[name] === "string" && fields[name] !== "",
  );
}

const root = document.getElementById("page");
if (root !== null) void start(root);
