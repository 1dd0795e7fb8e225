// Gives wrong codes until none is taken any more, and waits.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["401 /auth/totp/verify"] });
  await ada.page.clock.install();
  const secret = await ada.authenticator("ada@example.com");
  await ada.signOut();
  await ada.signIn("ada@example.com");
  const wrong = async () => ada.submit({ totp: await ada.wrong(secret) });
  const blocked = () => ada.page.locator('[data-supertokens~="retryCodeBtn"]').waitFor();

  for (const left of [5, 4, 3, 2, 1]) {
    await wrong();
    await ada.says(`${left} attempt(s) remaining before account is temporarily locked.`);
    assert.equal(await ada.page.locator('input[name="totp"]').inputValue(), "");
  }
  await wrong();
  await blocked();
  await ada.says(/^1[45]:\d\d$/);
  await ada.shots("totp-locked");

  // A reload brings the form back, and helps no one: the right code is refused too.
  await ada.page.reload();
  await ada.submit({ totp: tools.code(secret, ada.ahead / 30) });
  await blocked();
  await ada.expectClaim(false, "emailpassword");

  // The page counts down, and then lets one try again.
  await ada.turn(15 * 60);
  await ada.page.clock.fastForward(15 * 60 * 1000);
  await ada.press("Try again");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword", "totp");
}
