/** What the stack writes beside the page for it to find its sign-in. */
export interface PageConfig {
  region: string;
  user_pool_client_id: string;
  /** Cognito's public endpoint, for instance `https://cognito-idp.eu-west-1.amazonaws.com/`. */
  cognito_endpoint: string;
}

/**
 * Read `config.json`, which the deployment puts beside the page.
 *
 * @throws Error with a sentence for the person when it is absent or lacks a field.
 */
export async function loadConfig(url = "/config.json"): Promise<PageConfig> {
  const response = await fetch(url, { cache: "no-cache" });
  const config: unknown = response.ok ? await response.json().catch(() => null) : null;
  if (!isPageConfig(config)) {
    throw new Error(
      "This page does not know where to sign in: config.json is missing or incomplete. " +
        "Deploy the Chat stack again and reload.",
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
