// Adds and removes devices on the settings page, down to the last.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools);
  const devices = ada.page.getByRole("list", { name: "Devices" }).getByRole("listitem");
  const remove = async (name) => {
    await ada.press(`Remove ${name}`);
    await ada.press("Remove it");
  };
  const first = await ada.authenticator("ada@example.com");
  await ada.text("TOTP Device 1");

  // One more; its code serves as well as that of the first.
  await ada.press("Add a device");
  await ada.at("/auth/mfa/totp?setup=true&redirectToPath=%2Fsettings");
  const second = await ada.enrol();
  assert.notEqual(second, first);
  await ada.at("/settings");
  await ada.text("TOTP Device 2");
  await ada.shots("settings-devices");
  await ada.signOut();
  await ada.signIn("ada@example.com");
  await ada.submit({ totp: await ada.code(second) });
  await ada.heading("You are signed in");

  // One that is begun and left: the pre-built page removes it when one goes back, and not when one closes the page.
  await ada.page.getByRole("link", { name: "Settings" }).click();
  await ada.press("Add a device");
  await ada.page.locator('[data-supertokens~="totpDeviceQR"]').waitFor();
  await ada.page.locator('[data-supertokens~="backButton"]').click();
  await ada.at("/settings");
  await ada.text("TOTP Device 2");
  assert.equal(await devices.count(), 2);
  await ada.press("Add a device");
  await ada.page.locator('[data-supertokens~="totpDeviceQR"]').waitFor();
  await ada.go("/settings");
  await ada.says("TOTP Device 3 · not finished");
  await remove("TOTP Device 3");
  await ada.page.getByText("TOTP Device 3").waitFor({ state: "detached" });

  // The last one takes the factor out of the session: where it is switched on it has to be set up again, at once.
  await remove("TOTP Device 1");
  await ada.page.getByText("TOTP Device 1").waitFor({ state: "detached" });
  await ada.expectClaim(true, "emailpassword", "totp");
  await ada.press("Remove TOTP Device 2");
  await ada.text("It is the last one.");
  await ada.press("Remove it");
  await ada.at("/auth/mfa/totp");
  await ada.expectClaim(false, "emailpassword");
  const third = await ada.enrol();
  assert.notEqual(third, second);
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword", "totp");
}
