import { useCallback } from "react";
import { useLocation, useParams, useSearchParams } from "react-router-dom";
import { call, useLoaded } from "../api";
import { Page, Problem } from "../page";

interface Quarter {
  readonly name: string;
  readonly sales: number;
}

// Report is a page that one may have the address of: /reports/2026?quarter=Q3#sales.
export function Report() {
  const { year = "" } = useParams();
  const [query] = useSearchParams();
  const { hash } = useLocation();
  const { data, error } = useLoaded(useCallback(() => call<Quarter[]>(`/api/reports/${encodeURIComponent(year)}`), [year]));
  const chosen = query.get("quarter");
  return (
    <Page title={`Report of ${year}`} lead="Send its address to somebody: after signing in they are here.">
      <Problem>{error}</Problem>
      {data && (
        <section className={hash === "#sales" ? "card chosen" : "card"} id="sales">
          <h2>Sales</h2>
          <dl>
            {data.map(({ name, sales }) => (
              <div key={name} className={name === chosen ? "chosen" : undefined}>
                <dt>{name}</dt><dd>{sales.toLocaleString("en")}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
    </Page>
  );
}
