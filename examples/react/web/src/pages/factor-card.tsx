import { useState } from "react";
import { useNavigate } from "react-router-dom";
import { redirectToFactor } from "supertokens-auth-react/recipe/multifactorauth";
import { call, messageOf, Refused } from "../api";
import type { SecondFactor } from "../factors";
import { Problem } from "../page";

export interface FactorState {
  readonly id: string;
  readonly on: boolean;
  readonly setUp: boolean;
}

interface FactorCardProps {
  readonly factor: SecondFactor;
  readonly state: FactorState;
  readonly changed: () => Promise<void>;
}

// FactorCard switches a factor on and off.
export function FactorCard({ factor, state, changed }: FactorCardProps) {
  const [problem, setProblem] = useState<string>();
  const [stale, setStale] = useState(false);
  const navigate = useNavigate();
  const path = `/api/factors/${factor.id}`;
  const toFactor = (forceSetup: boolean) =>
    redirectToFactor({ factorId: factor.id, forceSetup, stepUp: !forceSetup, redirectBack: true, navigate });

  const switchOn = async () => {
    if (!state.setUp) return toFactor(true); // the server switches it on when that is done
    await call(path, "POST");
    await toFactor(false); // and shows at once that it works
  };
  const switchOff = async () => {
    try {
      await call(path, "DELETE");
      await changed();
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 403) throw error;
      setStale(true);
    }
  };
  const attempt = (action: () => Promise<void>) => {
    setProblem(undefined);
    action().catch((error: unknown) => setProblem(messageOf(error)));
  };

  return (
    <section className="card">
      <div className="row">
        <h2 id={factor.id}>{factor.name}</h2>
        <button
          type="button" role="switch" className="switch" aria-checked={state.on} aria-labelledby={factor.id}
          onClick={() => attempt(state.on ? switchOff : switchOn)}
        />
      </div>
      <p>{factor.explanation}</p>
      <Problem>{problem}</Problem>
      {stale && (
        <div className="notice" role="status">
          <p>To switch it off, confirm with it first: it was not used in the last quarter of an hour.</p>
          <button type="button" onClick={() => attempt(() => toFactor(false))}>Confirm</button>
        </div>
      )}
      {state.setUp && factor.Details && <factor.Details />}
    </section>
  );
}
