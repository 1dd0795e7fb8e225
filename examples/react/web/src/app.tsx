import * as reactRouterDom from "react-router-dom";
import { BrowserRouter, Route, Routes } from "react-router-dom";
import { SuperTokensWrapper } from "supertokens-auth-react";
import { SessionAuth } from "supertokens-auth-react/recipe/session";
import { getSuperTokensRoutesForReactRouterDom } from "supertokens-auth-react/ui";
import { ErrorBoundary } from "./error-boundary";
import { Layout } from "./layout";
import { Home } from "./pages/home";
import { NotFound } from "./pages/not-found";
import { Report } from "./pages/report";
import { Settings } from "./pages/settings";
import { Token } from "./pages/token";
import { preBuiltUIs } from "./supertokens";

const noValidators = () => [];

export function App() {
  return (
    <ErrorBoundary>
      <SuperTokensWrapper>
        <BrowserRouter>
          <Routes>
            <Route element={<Layout />}>
              {getSuperTokensRoutesForReactRouterDom(reactRouterDom, preBuiltUIs)}
              <Route path="/" element={<SessionAuth><Home /></SessionAuth>} />
              <Route path="/reports/:year" element={<SessionAuth><Report /></SessionAuth>} />
              <Route path="/settings" element={<SessionAuth><Settings /></SessionAuth>} />
              {/* Shows what a session is worth before its second factor is done, so no claim is asked for. */}
              <Route path="/token" element={<SessionAuth overrideGlobalClaimValidators={noValidators}><Token /></SessionAuth>} />
              <Route path="*" element={<NotFound />} />
            </Route>
          </Routes>
        </BrowserRouter>
      </SuperTokensWrapper>
    </ErrorBoundary>
  );
}
