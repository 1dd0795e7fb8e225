// The page of the quickstart, without any build step. It calls the same routes that SuperTokens' front ends call; an application with a front end
// of that kind needs none of this.

const $ = (id) => document.getElementById(id);
const views = ["welcome", "enrol", "challenge", "home"];

let payload = null; // of the access token, as the server last sent it in the header front-token; null: signed out
let signingUp = false;
let device = null; // being set up

// ---- requests ----

// call sends JSON and returns {status, body}. A 401 means that the access token has ended: it is refreshed, once, and the request sent again.
async function call(method, path, body, retried = false) {
  const headers = { "st-auth-mode": "cookie", rid: "quickstart" };
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  takeFrontToken(response);
  if (response.status === 401 && !retried && path !== "/auth/session/refresh") {
    const refreshed = await call("POST", "/auth/session/refresh", undefined, true);
    if (refreshed.status === 200) return call(method, path, body, true);
    payload = null;
  }
  const type = response.headers.get("content-type") || "";
  return { status: response.status, body: type.includes("json") ? await response.json() : await response.text() };
}

// takeFrontToken keeps what the page may know of the session: the token itself is in a cookie that no script can read.
function takeFrontToken(response) {
  const token = response.headers.get("front-token");
  if (token === null) return;
  if (token === "remove") {
    payload = null;
  } else {
    const bytes = Uint8Array.from(atob(token), (c) => c.charCodeAt(0));
    payload = JSON.parse(new TextDecoder().decode(bytes)).up;
  }
  showClaim();
}

// ---- what is shown ----

function show(view) {
  for (const id of views) $(id).hidden = id !== view;
  $("sign-out").hidden = view === "welcome";
  showClaim();
  const title = $(view + "-title");
  (view === "challenge" ? $("code") : title).focus();
  document.title = title.textContent + " · Acme";
}

function showClaim() {
  $("claim-part").hidden = payload === null;
  if (payload === null) return;
  const claim = payload["st-mfa"] ?? null;
  $("claim").textContent = JSON.stringify({ "st-mfa": claim }, null, 2);
  const done = claim !== null && claim.v === true;
  $("claim-summary").textContent = done ? "v is true: everything required is done." : "v is false: a factor is still open.";
  $("claim-summary").classList.toggle("done", done);
}

function problem(id, text) {
  $(id).textContent = text;
  const input = document.querySelector(`[aria-describedby="${id}"]`);
  if (input) input.setAttribute("aria-invalid", text === "" ? "false" : "true");
}

function clearProblems() {
  for (const element of document.querySelectorAll(".problem")) problem(element.id, "");
}

const unexpected = "That did not work. Please try again.";

// explain turns the answer of a code check into a sentence, or null when the code was right.
function explain({ status, body }) {
  if (status === 200 && body.status === "OK") return null;
  switch (body.status) {
    case "INVALID_TOTP_ERROR": {
      const left = body.maxNumberOfFailedAttempts - body.currentNumberOfFailedAttempts;
      return `That code is not right. ${left === 0 ? "No attempt is" : left === 1 ? "1 attempt is" : `${left} attempts are`} left.`;
    }
    case "LIMIT_REACHED_ERROR":
      return `Too many wrong codes. Try again in ${Math.ceil(body.retryAfterMs / 60000)} minutes.`;
    case "GENERAL_ERROR":
      return body.message;
    case "UNKNOWN_DEVICE_ERROR":
      return "This set-up has expired. Please start again.";
  }
  return unexpected;
}

// next looks at the session and shows what is to be done in it.
async function next() {
  clearProblems();
  const info = await call("PUT", "/auth/mfa/info", {});
  if (info.status === 401) return welcome(false);
  if (info.status !== 200) throw new Error("mfa/info answered " + info.status);
  const { next: open, alreadySetup } = info.body.factors;
  if (open.length === 0) return home();
  if (alreadySetup.includes("totp")) return challenge();
  return enrol(false);
}

function welcome(up) {
  signingUp = up;
  $("welcome-title").textContent = up ? "Create an account" : "Sign in";
  $("welcome-text").textContent = up ? "An email address and a password of at least 8 characters, with a number." : "Welcome back.";
  $("submit-credentials").textContent = up ? "Create account" : "Sign in";
  $("switch-text").textContent = up ? "Have an account?" : "New here?";
  $("switch").textContent = up ? "Sign in" : "Create an account";
  $("password").autocomplete = up ? "new-password" : "current-password";
  clearProblems();
  show("welcome");
}

async function home() {
  await visit("me");
  const isAdmin = await visit("admin");
  $("promotion").hidden = isAdmin;
  const listed = await call("GET", "/auth/totp/device/list");
  const devices = listed.body.devices.filter((d) => d.verified);
  $("devices").replaceChildren(...devices.map(deviceRow));
  $("no-devices").hidden = devices.length > 0;
  show("home");
}

// visit asks for a protected page and shows what it says.
async function visit(page) {
  const { status, body } = await call("GET", "/" + page);
  const open = status === 200;
  $(page).textContent = open ? body.trim() : `${status}: ${body.claimValidationErrors?.map((e) => e.id).join(", ") ?? "refused"}`;
  $(page).classList.toggle("closed", !open);
  return open;
}

function deviceRow({ name }) {
  const row = document.createElement("li");
  const label = Object.assign(document.createElement("span"), { textContent: name });
  const remove = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Remove" });
  remove.setAttribute("aria-label", "Remove " + name);
  remove.addEventListener("click", busy(remove, async () => {
    const { status } = await call("POST", "/auth/totp/device/remove", { deviceName: name });
    if (status !== 200) return problem("home-problem", unexpected);
    await next();
  }));
  row.append(label, remove);
  return row;
}

async function enrol(mayCancel) {
  const created = await call("POST", "/auth/totp/device", {});
  if (created.status !== 200 || created.body.status !== "OK") {
    const where = payload !== null && !$("home").hidden ? "home-problem" : "device-problem";
    return problem(where, created.body.message ?? unexpected);
  }
  device = created.body;
  $("secret").textContent = device.secret.replace(/(.{4})(?=.)/g, "$1 ");
  const picture = await fetch("/qr", { method: "POST", headers: { rid: "quickstart" }, body: device.qrCodeString });
  URL.revokeObjectURL($("qr").src);
  $("qr").src = URL.createObjectURL(await picture.blob());
  $("device-code").value = "";
  $("cancel-enrol").hidden = !mayCancel;
  show("enrol");
}

function challenge() {
  $("code").value = "";
  show("challenge");
}

// ---- what is done ----

// busy runs one action at a time: the button is off until it has ended.
function busy(button, action) {
  return async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      console.error(error);
      const visible = views.find((id) => !$(id).hidden) ?? "welcome";
      problem({ welcome: "credentials-problem", enrol: "device-problem", challenge: "code-problem", home: "home-problem" }[visible], unexpected);
    } finally {
      button.disabled = false;
    }
  };
}

function onSubmit(form, action) {
  $(form).addEventListener("submit", (event) => busy($(form).querySelector("[type=submit]"), action)(event));
}

onSubmit("credentials", async () => {
  clearProblems();
  const formFields = ["email", "password"].map((id) => ({ id, value: $(id).value }));
  const { status, body } = await call("POST", signingUp ? "/auth/signup" : "/auth/signin", { formFields, shouldTryLinkingWithSessionUser: false });
  if (status === 200 && body.status === "OK") {
    $("credentials").reset();
    return next();
  }
  if (body.status === "FIELD_ERROR") {
    for (const field of body.formFields) problem(field.id + "-problem", field.error);
    $(body.formFields[0].id).focus();
    return;
  }
  const texts = { WRONG_CREDENTIALS_ERROR: "Email or password is wrong.", GENERAL_ERROR: body.message };
  problem("credentials-problem", texts[body.status] ?? body.reason ?? unexpected);
});

onSubmit("verify-device", async () => {
  const answer = await call("POST", "/auth/totp/device/verify", { deviceName: device.deviceName, totp: $("device-code").value });
  const text = explain(answer);
  if (text === null) return next();
  problem("device-problem", text);
  $("device-code").select();
});

onSubmit("verify-code", async () => {
  const answer = await call("POST", "/auth/totp/verify", { totp: $("code").value });
  const text = explain(answer);
  if (text === null) return next();
  problem("code-problem", text);
  $("code").select();
});

$("cancel-enrol").addEventListener("click", busy($("cancel-enrol"), async () => {
  await call("POST", "/auth/totp/device/remove", { deviceName: device.deviceName });
  await next();
}));
$("switch").addEventListener("click", () => welcome(!signingUp));
$("add-device").addEventListener("click", busy($("add-device"), () => enrol(true)));
$("become-admin").addEventListener("click", busy($("become-admin"), async () => {
  const { status } = await call("POST", "/become-admin");
  if (status >= 300) return problem("home-problem", unexpected);
  await next();
}));
$("sign-out").addEventListener("click", busy($("sign-out"), async () => {
  await call("POST", "/auth/signout");
  payload = null;
  welcome(false);
}));

// The first look: is somebody signed in? Without a session this refresh is answered with a cheap 401.
const first = await call("POST", "/auth/session/refresh", undefined, true);
if (first.status === 200) await next();
else welcome(false);
