// Does what the forms refuse, and what leaves traces: the messages of the library reach the person, and a set-up that is left leaves no device.
import assert from "node:assert/strict";
import { password, Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools);
  await ada.signUp("ada@example.com");
  await ada.signOut();

  // An address that is taken is told when the field is left, and when the form is sent all the same.
  await ada.go("/auth?show=signup");
  await ada.fill({ email: "ada@example.com" });
  await ada.page.keyboard.press("Tab");
  await ada.text("This email already exists. Please sign in instead"); // the page's words
  await ada.submit({ password });
  await ada.text("This email already exists. Please sign in instead."); // the library's
  await ada.shots("sign-up-taken");

  // Wrong passwords, until the library makes one wait: then its own words are shown.
  await ada.go("/auth");
  for (let i = 0; i < 10; i++) {
    const answer = ada.page.waitForResponse((response) => response.url().endsWith("/auth/signin"));
    await ada.submit({ email: "ada@example.com", password: `wrong ${i}` });
    assert.deepEqual(await (await answer).json(), { status: "WRONG_CREDENTIALS_ERROR" });
    await ada.text("Incorrect email and password combination");
  }
  const refused = ada.page.waitForResponse((response) => response.url().endsWith("/auth/signin"));
  await ada.submit({ password });
  const { status, message } = await (await refused).json();
  assert.equal(status, "GENERAL_ERROR");
  await ada.text(message);
  await ada.shots("sign-in-wait");
  await ada.turn(60);
  await ada.submit({ password });
  await ada.heading("You are signed in");

  // Leaving the set-up page by its own button removes the device, with the factor missing too.
  await ada.press("Become an administrator");
  await ada.page.locator('[data-supertokens~="totpDeviceQR"]').waitFor();
  const removed = ada.page.waitForResponse((response) => response.url().endsWith("/auth/totp/device/remove"));
  await ada.logOut();
  assert.deepEqual(await (await removed).json(), { didDeviceExist: true, status: "OK" });
}
