// Signs out, in this tab and in another, with everything done and with a factor missing.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["401 /api/me", "401 /api/factors"] });
  await ada.authenticator("ada@example.com");
  const other = await ada.tab();
  await other.go("/reports/2026");
  await other.heading("Report of 2026");
  await other.settled();

  await ada.signOut();
  assert.equal(await ada.status("/api/me"), 401);
  assert.deepEqual(await tokens(ada), []);

  // The other tab learns of it when it does something, and comes back after the next sign-in.
  await other.page.getByRole("link", { name: "Settings" }).click();
  await other.at("/auth/?redirectToPath=%2Fsettings");

  // With a factor missing.
  await ada.signIn("ada@example.com");
  await ada.at("/auth/mfa/totp");
  await ada.logOut();
  assert.deepEqual(await tokens(ada), []);
  assert.equal(await ada.status("/api/me"), 401);
}

// tokens are the names of the cookies that carry a session, of the server and of the page.
async function tokens(visitor) {
  const all = await visitor.context.cookies();
  return all.map(({ name }) => name).filter((name) => ["sAccessToken", "sRefreshToken", "sFrontToken", "st-access-token", "st-refresh-token"].includes(name));
}
