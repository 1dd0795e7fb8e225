// Lets the access token expire: while several requests are in flight, in two tabs, before a page is opened, and for good.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

const validity = 5 * 60; // seconds

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["401 /api/me", "401 /api/reports/2026", "503 /auth/session/refresh"] });
  await ada.authenticator("ada@example.com");
  const { c } = await ada.claim();
  const other = await ada.tab();
  await other.go("/token");
  await other.heading("Your token");
  let refreshes = 0;
  ada.context.on("request", (request) => {
    if (request.method() === "POST" && request.url() === `${ada.apiDomain}/auth/session/refresh`) refreshes++;
  });
  const refreshed = (want) => {
    assert.equal(refreshes, want);
    refreshes = 0;
  };
  const me = `${ada.apiDomain}/api/me`;
  const five = (page) => page.evaluate((url) => Promise.all([1, 2, 3, 4, 5].map(async () => (await fetch(url)).status)), me);

  // Five requests at once, all refused: one refresh, and all are asked again.
  await ada.turn(validity);
  assert.deepEqual(await five(ada.page), [200, 200, 200, 200, 200]);
  refreshed(1);
  assert.deepEqual(await ada.claim(), { c, v: true });

  // Two tabs with five each.
  await ada.turn(validity);
  assert.deepEqual((await Promise.all([five(ada.page), five(other.page)])).flat(), Array(10).fill(200));
  refreshed(1);

  // A refresh that fails leaves the session as it is.
  await ada.turn(validity);
  await ada.context.route("**/auth/session/refresh", (route) => route.fulfill({
    status: 503, headers: { "access-control-allow-origin": tools.url, "access-control-allow-credentials": "true" },
  }));
  assert.equal(await ada.status("/api/me"), 503);
  await ada.context.unroute("**/auth/session/refresh");
  refreshes = 0;
  assert.equal(await ada.status("/api/me"), 200);
  refreshed(1);

  // The front end knows when the token expires, and refreshes before it asks for anything.
  const asked = [];
  ada.page.on("response", (response) => asked.push(`${response.status()} ${new URL(response.url()).pathname}`));
  await ada.turn(validity);
  await ada.page.clock.install({ time: Date.now() + validity * 1000 });
  await ada.go("/");
  await ada.heading("You are signed in");
  await ada.text("ada@example.com");
  refreshed(1);
  assert.deepEqual(asked.filter((answer) => answer.startsWith("401")), []);

  // Not used for too long: the page asks for a sign-in, and comes back.
  await ada.turn(101 * 24 * 3600);
  await ada.page.getByRole("link", { name: "Report" }).click();
  await ada.at("/auth/?redirectToPath=%2Freports%2F2026");
}
