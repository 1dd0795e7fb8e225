import { useState } from "react";
import { Link } from "react-router-dom";
import { useSessionContext } from "supertokens-auth-react/recipe/session";
import { call, messageOf, Refused } from "../api";
import { Page } from "../page";

interface MFAClaim {
  readonly c: Readonly<Record<string, number>>;
  readonly v: boolean;
}

// Token shows the payload of the access token as the front end has it: the library sends it along in readable form.
export function Token() {
  const session = useSessionContext();
  const [answer, setAnswer] = useState<string>();
  if (session.loading || !session.doesSessionExist) return null;
  const payload = session.accessTokenPayload as Readonly<Record<string, unknown>>;
  const ask = async () => setAnswer(await answerOfAPI());
  return (
    <Page title="Your token" lead="The payload of the access token. It is shown before a second factor is done, too.">
      <Claim claim={payload["st-mfa"] as MFAClaim | undefined} />
      <section className="card">
        <h2>Payload</h2>
        <pre id="payload" tabIndex={0}>{JSON.stringify(payload, null, 2)}</pre>
      </section>
      <section className="card">
        <h2>What it is worth</h2>
        <p>The API is asked for your data with this token.</p>
        <button type="button" className="quiet" onClick={() => void ask()}>Ask the API</button>
        {answer && <pre id="answer" role="status" tabIndex={0}>{answer}</pre>}
      </section>
    </Page>
  );
}

function Claim({ claim }: { readonly claim: MFAClaim | undefined }) {
  if (!claim) return null;
  return (
    <section className="card">
      <h2>Factors</h2>
      <dl>
        {Object.entries(claim.c).map(([id, time]) => (
          <div key={id}><dt><code>{id}</code></dt><dd>{new Date(time * 1000).toLocaleString()}</dd></div>
        ))}
      </dl>
      <p className={claim.v ? "good" : "open"}>
        {claim.v ? "All that is required is completed." : <>Something is missing: <Link to="/">complete it</Link>.</>}
      </p>
    </section>
  );
}

async function answerOfAPI(): Promise<string> {
  try {
    return `200\n${JSON.stringify(await call("/api/me"), null, 2)}`;
  } catch (error) {
    if (error instanceof Refused) return `${error.status}\n${JSON.stringify(error.body, null, 2)}`;
    return messageOf(error);
  }
}
