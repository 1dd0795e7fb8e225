import { useState } from "react";
import { resyncSessionAndFetchMFAInfo } from "supertokens-auth-react/recipe/multifactorauth";
import { call, messageOf, useLoaded } from "../api";
import { Page, Problem } from "../page";

interface Me {
  readonly userId: string;
  readonly email: string;
  readonly roles: readonly string[];
}

const loadMe = () => call<Me>("/api/me");

export function Home() {
  const { data: me, error, reload } = useLoaded(loadMe);
  return (
    <Page title="You are signed in" lead="This page and its data are for sessions that have completed all that is required.">
      <Problem>{error}</Problem>
      {me && (
        <section className="card">
          <h2>Who the API says you are</h2>
          <dl>
            <dt>Email</dt><dd>{me.email}</dd>
            <dt>User</dt><dd><code>{me.userId}</code></dd>
            <dt>Roles</dt><dd>{me.roles.join(", ") || "none"}</dd>
          </dl>
        </section>
      )}
      {me && !me.roles.includes("admin") && <BecomeAdmin done={reload} />}
    </Page>
  );
}

function BecomeAdmin({ done }: { readonly done: () => Promise<void> }) {
  const [problem, setProblem] = useState<string>();
  const become = async () => {
    try {
      await call("/api/become-admin", "POST");
      // Fetches the new claim. Where it says that a factor is missing, the guard of this page leads to it.
      const { factors } = await resyncSessionAndFetchMFAInfo();
      if (factors.next.length === 0) await done();
    } catch (error) {
      setProblem(messageOf(error));
    }
  };
  return (
    <section className="card">
      <h2>Administrators need a second factor</h2>
      <p>Become one, and every session of yours is held to it at once.</p>
      <Problem>{problem}</Problem>
      <button type="button" onClick={() => void become()}>Become an administrator</button>
    </section>
  );
}
