import { useNavigate } from "react-router-dom";
import { redirectToFactorChooser } from "supertokens-auth-react/recipe/multifactorauth";
import { call, useLoaded } from "../api";
import { secondFactors } from "../factors";
import { Page, Problem } from "../page";
import { FactorCard, type FactorState } from "./factor-card";

const loadFactors = () => call<FactorState[]>("/api/factors");

export function Settings() {
  const { data, error, reload } = useLoaded(loadFactors);
  const navigate = useNavigate();
  const confirm = () => redirectToFactorChooser({ stepUp: true, redirectBack: true, navigate });
  return (
    <Page title="Settings" lead="Which second factors you are asked for when you sign in.">
      <Problem>{error}</Problem>
      {data && secondFactors.map((factor) => {
        const state = data.find(({ id }) => id === factor.id);
        return state && <FactorCard key={factor.id} factor={factor} state={state} changed={reload} />;
      })}
      {data?.some(({ setUp }) => setUp) && (
        <section className="card">
          <h2>Confirm that it is you</h2>
          <p>Before something that matters, show again that you have one of your factors.</p>
          <button type="button" className="quiet" onClick={() => void confirm()}>Choose a factor</button>
        </section>
      )}
    </Page>
  );
}
