// Looks at how tokens travel: in cookies that scripts cannot read, or in headers, with no cookie of the server.
import assert from "node:assert/strict";
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools);
  const answers = [];
  ada.page.on("response", (response) => answers.push(response));
  await ada.signUp("ada@example.com");
  const cookies = await ada.context.cookies([tools.url, `${ada.apiDomain}/auth/session/refresh`]);
  const named = (name) => cookies.find((cookie) => cookie.name === name);
  const signUp = await answers.find((r) => r.url().endsWith("/auth/signup") && r.request().method() === "POST").allHeaders();
  const me = await answers.findLast((r) => r.url().endsWith("/api/me")).request().allHeaders();
  assert.equal(signUp["cache-control"], "no-store");

  if (!ada.headers) {
    assert.deepEqual([named("sAccessToken").path, named("sRefreshToken").path], ["/", "/auth/session/refresh"]);
    for (const { httpOnly, sameSite } of [named("sAccessToken"), named("sRefreshToken")]) assert.deepEqual([httpOnly, sameSite], [true, "Lax"]);
    for (const header of ["st-access-token", "st-refresh-token"]) assert.equal(signUp[header], undefined);
    assert.equal(me.authorization, undefined);
    assert.equal(signUp["access-control-allow-origin"], undefined);
    return;
  }
  for (const name of ["sAccessToken", "sRefreshToken"]) assert.equal(named(name), undefined);
  for (const answer of answers) {
    const set = (await answer.allHeaders())["set-cookie"] ?? "";
    for (const cookie of set.split("\n")) assert.match(cookie, /^$|^s(Access|Refresh)Token=;/, "none is set, at most cleared");
  }
  for (const name of ["st-access-token", "st-refresh-token"]) assert.ok(named(name).value, name);
  assert.equal(me.authorization, `Bearer ${named("st-access-token").value}`);
  assert.equal(signUp["access-control-allow-origin"], tools.url);
  assert.equal(signUp["access-control-allow-credentials"], "true");
}
