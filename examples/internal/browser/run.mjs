// Runs one script: its default export gets a browser and what it needs to know. See browser.go.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
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

// errors are what no page may write to its console or throw: an answer other than 2xx, too, which Chromium writes there, unless it is allowed for,
// as in "401 /auth/session/refresh", or matches a pattern that is. watched gives a context whose pages are watched for them.
const errors = [];
const trail = []; // of what happened, for whoever has to find out why a script failed
async function watched(options, ...allowed) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(30_000);
  const at = (page) => new URL(page.url()).pathname;
  const fail = (page, what) => {
    trail.push(what);
    errors.push(`${at(page)}: ${what}`);
  };
  context.on("response", (answer) => trail.push(`${answer.request().method()} ${answer.url()}: ${answer.status()}`));
  context.on("page", (page) => page.on("framenavigated", () => trail.push(`at ${page.url()}`)));
  context.on("weberror", (event) => fail(event.page(), `thrown: ${event.error().stack}`));
  context.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const status = message.text().match(/^Failed to load resource: the server responded with a status of (\d+)/)?.[1];
    const refusal = status && `${status} ${new URL(message.location().url).pathname}`;
    const found = refusal ?? message.text();
    if (!allowed.some((one) => (one instanceof RegExp ? one.test(found) : one === found))) fail(message.page(), found);
  });
  return context;
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
  await script.default({ browser, watched, url: BASE_URL, code, shot: (name) => join(SHOTS, name + ".png") });
  assert.deepEqual(errors, []);
} catch (error) {
  console.log(trail.join("\n"));
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.log(`at ${page.url()}:\n${await page.locator("body").ariaSnapshot()}`);
  }
  throw error;
} finally {
  await browser.close();
}
