import { render } from "preact";
import { App } from "./app";
import { Cognito } from "./cognito";
import { loadConfig } from "./config";
import { Session } from "./session";

async function start(root: HTMLElement): Promise<void> {
  try {
    const config = await loadConfig();
    const session = new Session(new Cognito(config.cognito_endpoint, config.user_pool_client_id));
    render(<App session={session} />, root);
  } catch (error) {
    render(
      <p class="plain-notice" role="alert">
        {error instanceof Error ? error.message : String(error)}
      </p>,
      root,
    );
  }
}

const root = document.getElementById("page");
if (root !== null) void start(root);
