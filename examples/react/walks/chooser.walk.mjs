// Confirms with a factor of one's choice, and comes back.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools);
  const secret = await ada.authenticator("ada@example.com");
  const before = await ada.claim();
  await ada.press("Choose a factor");
  await ada.at("/auth/mfa?stepUp=true&redirectToPath=%2Fsettings");
  const options = ada.page.locator('[data-supertokens~="factorChooserOption"]');
  await options.first().waitFor();
  assert.equal(await options.count(), 1);
  await ada.shots("chooser");
  await options.filter({ hasText: "TOTP" }).click();
  await ada.at("/auth/mfa/totp?stepUp=true&redirectToPath=%2Fsettings");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.at("/settings");
  const after = await ada.claim();
  assert.equal(after.v, true);
  assert.ok(after.c.totp > before.c.totp);
}
