// Signs up, becomes an administrator, sets up an authenticator app, and is asked for its code at the next sign-in.
import assert from "node:assert/strict";
import { password, Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["403 /api/me"] });

  // Signing up, with mistakes.
  await ada.go("/");
  await ada.at("/auth/?redirectToPath=");
  await ada.text("Sign In");
  await ada.shots("sign-in");
  await ada.go("/auth?show=signup");
  await ada.submit({ email: "ada@example.com", password: "short" });
  await ada.text("Password must contain at least 8 characters, including a number");
  await ada.shots("sign-up");
  await ada.submit({ password });
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword");
  await ada.text("ada@example.com");
  await ada.shots("home");

  // The one page of the one factor that is open.
  await ada.press("Become an administrator");
  await ada.at("/auth/mfa/totp");
  await ada.expectClaim(false, "emailpassword");
  assert.equal(await ada.status("/api/me"), 403);
  await ada.page.locator('[data-supertokens~="totpDeviceQR"]').waitFor();
  await ada.shots("totp-set-up");
  const secret = await ada.enrol();
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword", "totp");
  await ada.text("admin");
  assert.equal(await ada.page.getByRole("button", { name: "Become an administrator" }).count(), 0);

  // The next sign-in.
  await ada.signOut();
  await ada.signIn("ada@example.com");
  await ada.at("/auth/mfa/totp");
  await ada.expectClaim(false, "emailpassword");
  assert.equal(await ada.status("/api/me"), 403);
  await ada.shots("totp-challenge");
  await ada.submit({ totp: await ada.wrong(secret) });
  await ada.says("5 attempt(s) remaining before account is temporarily locked.");
  await ada.shots("totp-wrong");
  await ada.submit({ totp: await ada.code(secret) });
  await ada.heading("You are signed in");
  await ada.expectClaim(true, "emailpassword", "totp");
  assert.equal(await ada.status("/api/me"), 200);

  // A reload finds the session again.
  await ada.page.reload();
  await ada.heading("You are signed in");
}
