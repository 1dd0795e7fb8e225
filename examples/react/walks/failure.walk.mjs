// Meets a server that fails. The pre-built pages throw in rendering where they cannot ask what is required: the example shows a page of its own then.
import { Visitor } from "./visitor.mjs";

export default async function walk(tools) {
  const ada = await Visitor.arrive(tools, { refusals: ["500 /auth/mfa/info", /^Response/] });
  await ada.authenticator("ada@example.com");
  await ada.signOut();
  await ada.context.route("**/auth/mfa/info", (route) => route.fulfill({
    status: 500, headers: { "access-control-allow-origin": tools.url, "access-control-allow-credentials": "true" },
  }));
  await ada.signIn("ada@example.com");
  await ada.heading("Something went wrong");
  await ada.expectClaim(false, "emailpassword");
  await ada.shots("failure");

  await ada.context.unroute("**/auth/mfa/info");
  await ada.press("Try again");
  await ada.at("/auth/mfa/totp");
}
