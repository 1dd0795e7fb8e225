// What the walks have in common: a person with a browser, who knows the pre-built pages and the pages of the example.
import assert from "node:assert/strict";

export const password = "analytical engine 1";

const looks = [
  ["phone-light", { width: 390, height: 844 }, "light"],
  ["phone-dark", { width: 390, height: 844 }, "dark"],
  ["desktop-light", { width: 1280, height: 860 }, "light"],
  ["desktop-dark", { width: 1280, height: 860 }, "dark"],
];

// Known to the browser as errors, and part of every walk: a first visit asks whether there is a session.
const usual = ["401 /auth/session/refresh"];

export class Visitor {
  constructor(tools, context, page, apiDomain) {
    Object.assign(this, { tools, context, page, apiDomain });
  }

  // refusals are other answers than 2xx that the walk provokes, such as "403 /api/me".
  static async arrive(tools, { refusals = [] } = {}) {
    const context = await tools.watched({ viewport: looks[2][1], reducedMotion: "reduce" }, ...usual, ...refusals);
    const { apiDomain = tools.url } = await (await fetch(`${tools.url}/config.json`)).json();
    const visitor = new Visitor(tools, context, await context.newPage(), apiDomain);
    visitor.ahead = 0;
    return visitor;
  }

  // tab is another one of the same browser.
  async tab() {
    return Object.assign(Object.create(Visitor.prototype), this, { page: await this.context.newPage() });
  }

  get headers() {
    return this.apiDomain !== this.tools.url; // tokens, that is, and two origins
  }

  // turn makes the clock of the server, not that of the browser, go ahead.
  async turn(seconds) {
    this.ahead += seconds;
    const answer = await fetch(`${this.apiDomain}/test/clock?ahead=${this.ahead}`, { method: "POST" });
    assert.equal(answer.status, 200);
  }

  // code is one that was not used yet: each is good once.
  async code(secret) {
    await this.turn(30);
    return this.tools.code(secret, this.ahead / 30);
  }

  async wrong(secret) {
    const right = [-1, 0, 1, 2].map((steps) => this.tools.code(secret, this.ahead / 30 + steps));
    return ["000000", "111111", "222222", "333333", "444444"].find((code) => !right.includes(code));
  }

  go(path) {
    return this.page.goto(this.tools.url + path);
  }

  get path() {
    const { pathname, search, hash } = new URL(this.page.url());
    return pathname + search + hash;
  }

  at(path) {
    return this.page.waitForURL((url) => url.pathname + url.search + url.hash === path);
  }

  heading(name) {
    return this.page.getByRole("heading", { level: 1, name }).waitFor();
  }

  text(text) {
    return this.page.getByText(text, { exact: true }).waitFor();
  }

  // says is for text that is part of a longer one.
  says(text) {
    return this.page.getByText(text).waitFor();
  }

  press(name) {
    return this.page.getByRole("button", { name, exact: true }).click();
  }

  async fill(fields) {
    for (const [name, value] of Object.entries(fields)) await this.page.locator(`input[name="${name}"]`).fill(value);
  }

  // submit sends the form of a pre-built page with the keyboard.
  async submit(fields) {
    await this.fill(fields);
    await this.page.keyboard.press("Enter");
  }

  async signUp(email) {
    await this.go("/auth?show=signup");
    await this.submit({ email, password });
    await this.heading("You are signed in");
  }

  // signIn only sends the form: what comes next depends on the user.
  async signIn(email) {
    await this.page.locator('input[name="password"]').waitFor();
    await this.submit({ email, password });
  }

  async signOut() {
    await this.settled();
    await this.press("Sign out");
    await this.at("/auth");
  }

  // logOut is by the button of a pre-built page.
  async logOut() {
    await this.settled();
    await this.page.getByText("Logout").click();
    await this.at("/auth/");
  }

  // settled waits until the guards of the page have looked at the claims. They do so one after the other, with pauses and under a lock, and the front
  // end throws where the session is gone meanwhile: no person is as quick as a walk.
  async settled() {
    await this.page.waitForFunction(() => {
      const busy = Object.keys(localStorage).some((key) => key.startsWith("browser-tabs-lock-key"));
      window.quiet = busy ? 0 : (window.quiet ?? 0) + 1;
      if (window.quiet < 5) return false;
      window.quiet = 0;
      return true;
    }, null, { polling: 50 });
  }

  // enrol completes the set-up page of the authenticator app, and gives the secret.
  async enrol() {
    await this.page.locator('[data-supertokens~="totpDeviceQR"]').waitFor();
    await this.press("secret key");
    const secret = await this.page.locator('[data-supertokens~="totpSecret"]').textContent();
    await this.submit({ totp: await this.code(secret) });
    return secret;
  }

  // authenticator makes a user who has one, and is signed in.
  async authenticator(email) {
    await this.signUp(email);
    await this.page.getByRole("link", { name: "Settings" }).click();
    await this.page.getByRole("switch", { name: "Authenticator app" }).click();
    const secret = await this.enrol();
    await this.heading("Settings");
    return secret;
  }

  // claim is what the front end holds of the session.
  async claim() {
    const front = (await this.context.cookies(this.tools.url)).find(({ name }) => name === "sFrontToken");
    return JSON.parse(Buffer.from(decodeURIComponent(front.value), "base64").toString()).up["st-mfa"];
  }

  async expectClaim(v, ...factors) {
    const { c, v: actual } = await this.claim();
    assert.deepEqual([actual, Object.keys(c).sort()], [v, factors.sort()]);
  }

  // status is that of a request with the page's own fetch, which SuperTokens wraps.
  status(path, method = "GET") {
    return this.page.evaluate(async ([url, method]) => (await fetch(url, { method })).status, [this.apiDomain + path, method]);
  }

  async shots(view) {
    if (this.headers) return; // they look the same
    for (const [name, viewport, colorScheme] of looks) {
      await this.page.setViewportSize(viewport);
      await this.page.emulateMedia({ colorScheme });
      await this.page.screenshot({ path: this.tools.shot(`react-${view}-${name}`), fullPage: true });
      const width = await this.page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= viewport.width, `${view} is ${width} wide on ${name}`);
    }
    await this.page.setViewportSize(looks[2][1]);
  }
}
