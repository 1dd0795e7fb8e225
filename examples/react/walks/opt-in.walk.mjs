// Switches the authenticator app on and off on the settings page.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["403 /api/factors/totp", "401 /api/factors"] });
  const toggle = ada.page.getByRole("switch", { name: "Authenticator app" });
  const is = (on) => ada.page.getByRole("switch", { name: "Authenticator app", checked: on }).waitFor();

  // On, by enrolling a device.
  await ada.signUp("ada@example.com");
  await ada.page.getByRole("link", { name: "Settings" }).click();
  await is(false);
  await ada.shots("settings-off");
  await toggle.click();
  await ada.at("/auth/mfa/totp?setup=true&redirectToPath=%2Fsettings");
  const secret = await ada.enrol();
  await ada.at("/settings");
  await is(true);
  await ada.text("TOTP Device 1");
  await ada.expectClaim(true, "emailpassword", "totp");
  await ada.shots("settings-on");

  // The next sign-in asks for it.
  await ada.signOut();
  await ada.signIn("ada@example.com");
  await ada.at("/auth/mfa/totp");
  await ada.expectClaim(false, "emailpassword");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.heading("You are signed in");

  // Off: not without a code of the last quarter of an hour.
  await ada.turn(20 * 60);
  await ada.page.getByRole("link", { name: "Settings" }).click();
  await toggle.click();
  await ada.says("To switch it off, confirm with it first");
  await is(true);
  await ada.shots("settings-confirm");
  const before = await ada.claim();
  await ada.press("Confirm");
  await ada.at("/auth/mfa/totp?stepUp=true&redirectToPath=%2Fsettings");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.at("/settings");
  assert.ok((await ada.claim()).c.totp >= before.c.totp + 20 * 60);
  await toggle.click();
  await is(false);
  await ada.text("TOTP Device 1");

  // The next sign-in does not ask.
  await ada.signOut();
  await ada.signIn("ada@example.com");
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword");

  // On again, with the same device, which has to show at once that it works.
  await ada.page.getByRole("link", { name: "Settings" }).click();
  await toggle.click();
  await ada.at("/auth/mfa/totp?stepUp=true&redirectToPath=%2Fsettings");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.at("/settings");
  await is(true);
  await ada.expectClaim(true, "emailpassword", "totp");
}
