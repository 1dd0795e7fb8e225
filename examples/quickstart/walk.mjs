// Walks through the quickstart as a person does: sign up, become an administrator, enrol an authenticator, sign out and in again, give a wrong code
// and then the right one.
import assert from "node:assert/strict";

export default async function walk({ browser, url, code, shot }) {
  const looks = [];
  for (const colorScheme of ["light", "dark"]) {
    for (const [device, viewport] of [["phone", { width: 390, height: 844 }], ["desktop", { width: 1280, height: 860 }]]) {
      looks.push({ name: `${device}-${colorScheme}`, viewport, colorScheme });
    }
  }
  const context = await browser.newContext({ viewport: looks[0].viewport });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));

  async function shots(view) {
    for (const look of looks) {
      await page.setViewportSize(look.viewport);
      await page.emulateMedia({ colorScheme: look.colorScheme, reducedMotion: "reduce" });
      await page.screenshot({ path: shot(`quickstart-${view}-${look.name}`), fullPage: true });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= look.viewport.width, `${view} is ${width} wide on ${look.name}`);
    }
  }
  const heading = (name) => page.getByRole("heading", { level: 1, name }).waitFor();
  const claim = async () => JSON.parse(await page.locator("#claim").textContent())["st-mfa"];
  const seconds = () => Math.floor(Date.now() / 1000);

  // Sign up, with one mistake, by keyboard only.
  await page.goto(url);
  await heading("Sign in");
  await shots("sign-in");
  await page.getByRole("button", { name: "Create an account" }).press("Enter");
  await heading("Create an account");
  await page.getByLabel("Email").fill("ada@example.com");
  await page.getByLabel("Password").fill("short");
  await page.keyboard.press("Enter");
  await page.getByText("Password must contain at least 8 characters, including a number").waitFor();
  await shots("sign-up");
  await page.getByLabel("Password").fill("analytical engine 1");
  await page.keyboard.press("Enter");
  await heading("You are signed in");
  const first = await claim();
  assert.equal(first.v, true);
  assert.deepEqual(Object.keys(first.c), ["emailpassword"]);
  assert.equal(await page.locator("#me").textContent(), await page.evaluate(() => fetch("/me").then((r) => r.text())).then((t) => t.trim()));
  assert.equal(await page.locator("#admin").textContent(), "403: st-role");
  await shots("home");

  // Become an administrator: the session is held to it at once.
  await page.getByRole("button", { name: "Become an administrator" }).click();
  await heading("Set up your authenticator");
  assert.equal((await claim()).v, false);
  assert.equal((await page.request.get(url + "/me", { headers: { rid: "test" } })).status(), 403);
  await page.locator("#qr[src^='blob:']").waitFor();
  await page.waitForFunction(() => document.getElementById("qr").naturalWidth > 0);
  await shots("enrol");
  await page.getByText("Cannot scan it?").click();
  const secret = await page.locator("#secret").textContent();
  await page.getByRole("textbox", { name: "Code of 6 digits" }).fill(code(secret));
  await page.getByRole("button", { name: "Confirm" }).click();
  await heading("You are signed in");
  const enrolled = await claim();
  assert.equal(enrolled.v, true);
  assert.deepEqual(Object.keys(enrolled.c).sort(), ["emailpassword", "totp"]);
  assert.ok(Math.abs(enrolled.c.totp - seconds()) < 60);
  await page.getByText("TOTP Device 1").waitFor();
  assert.equal(await page.locator("#admin").textContent(), "for administrators only");
  assert.ok(await page.getByRole("button", { name: "Become an administrator" }).isHidden());
  await shots("administrator");

  // A second device, added and removed.
  await page.getByRole("button", { name: "Add an authenticator" }).click();
  await heading("Set up your authenticator");
  await page.getByRole("button", { name: "Cancel" }).click();
  await heading("You are signed in");
  await page.getByRole("button", { name: "Add an authenticator" }).click();
  await heading("Set up your authenticator");
  const other = await page.locator("#secret").textContent();
  assert.notEqual(other, secret);
  await page.getByRole("textbox", { name: "Code of 6 digits" }).fill(code(other));
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByRole("button", { name: "Remove TOTP Device 2" }).click();
  await page.getByText("TOTP Device 2").waitFor({ state: "detached" });
  assert.equal((await claim()).v, true);

  // Sign out and in again: the session stays closed until the second factor is done.
  await page.getByRole("button", { name: "Sign out" }).click();
  await heading("Sign in");
  assert.equal((await page.request.get(url + "/me")).status(), 401);
  await page.getByLabel("Email").fill("ada@example.com");
  await page.getByLabel("Password").fill("analytical engine 1");
  await page.keyboard.press("Enter");
  await heading("Enter your code");
  assert.deepEqual([(await claim()).v, Object.keys((await claim()).c)], [false, ["emailpassword"]]);
  assert.equal((await page.request.get(url + "/me")).status(), 403);

  // A wrong code is refused, with what is left; so is the one that was used.
  const right = code(secret, 1);
  await page.getByRole("textbox", { name: "Code of 6 digits" }).fill(right === "000000" ? "000001" : "000000");
  await page.keyboard.press("Enter");
  await page.getByText("That code is not right. 4 attempts are left.").waitFor();
  await shots("challenge");
  await page.getByRole("textbox", { name: "Code of 6 digits" }).fill(right);
  await page.keyboard.press("Enter");
  await heading("You are signed in");
  assert.equal((await claim()).v, true);
  assert.equal((await page.request.get(url + "/me")).status(), 200);

  // A reload finds the session again.
  await page.reload();
  await heading("You are signed in");
  assert.deepEqual(errors, []);
  await context.close();
}
