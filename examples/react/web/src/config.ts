// What the Go program says about itself: the front end is built once for one origin and for two.
interface Config {
  readonly apiDomain?: string;
  readonly tokenTransferMethod: "cookie" | "header";
}

const response = await fetch("/config.json");
if (!response.ok) throw new Error(`config.json: ${response.status}`);

export const { apiDomain = location.origin, tokenTransferMethod } = (await response.json()) as Config;
