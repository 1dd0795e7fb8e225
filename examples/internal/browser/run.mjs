// Runs one script: its default export gets a browser and what it needs to know. See browser.go.
import { chromium } from "playwright-core";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { BASE_URL, CHROMIUM, SHOTS } = process.env;
mkdirSync(SHOTS, { recursive: true });

// oathtool is the authenticator. A code is good once, so a second one in the same half minute is that of the next step, which is accepted as well.
function code(secret, stepsAhead = 0) {
  const now = new Date(Date.now() + stepsAhead * 30_000).toISOString().replace("T", " ").replace(/\..*/, " UTC");
  return execFileSync("oathtool", ["--totp", "--base32", "--now", now, secret.replaceAll(" ", "")], { encoding: "utf8" }).trim();
}

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
try {
  const script = await import(pathToFileURL(process.argv[2]).href);
  await script.default({ browser, url: BASE_URL, code, shot: (name) => join(SHOTS, name + ".png") });
} finally {
  await browser.close();
}
