// Follows the address of a protected page: signed out, and with a factor missing.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["403 /api/me"] });
  const secret = await ada.authenticator("ada@example.com");
  await ada.signOut();

  // Remembered over the password and the code.
  await ada.go("/reports/2025?quarter=Q3#sales");
  await ada.at("/auth/?redirectToPath=%2Freports%2F2025%3Fquarter%3DQ3%23sales");
  await ada.signIn("ada@example.com");
  await ada.at("/auth/mfa/totp");

  // With the factor missing, the page shows nothing of itself and leads to the factor; so does every other, but the one that asks for no claim.
  await ada.go("/reports/2026?quarter=Q1");
  await ada.at("/auth/mfa/totp");
  await ada.go("/token");
  await ada.heading("Your token");
  const payload = JSON.parse(await ada.page.locator("#payload").textContent());
  assert.deepEqual(payload["st-mfa"], await ada.claim());
  assert.equal(payload["st-mfa"].v, false);
  await ada.press("Ask the API");
  const [status, ...body] = (await ada.page.locator("#answer").textContent()).split("\n");
  assert.equal(status, "403");
  const { message, claimValidationErrors } = JSON.parse(body.join("\n"));
  assert.equal(message, "invalid claim");
  assert.deepEqual(claimValidationErrors.map(({ id }) => id), ["st-mfa"]);
  await ada.shots("token-pending");
  await ada.page.getByRole("link", { name: "complete it" }).click();
  await ada.at("/auth/mfa/totp");

  await ada.submit({ totp: await ada.code(secret) });
  await ada.heading("Report of 2025");
  assert.equal(ada.path, "/reports/2025?quarter=Q3#sales");
  await ada.shots("report");

  await ada.page.getByRole("link", { name: "Token" }).click();
  await ada.press("Ask the API");
  await ada.says("ada@example.com");
  await ada.shots("token");
}
