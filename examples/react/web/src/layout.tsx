import { NavLink, Outlet, useNavigate } from "react-router-dom";
import { signOut, useSessionContext } from "supertokens-auth-react/recipe/session";

export function Layout() {
  const session = useSessionContext();
  const signedIn = !session.loading && session.doesSessionExist;
  return (
    <>
      <header>
        <NavLink className="brand" to="/"><img src="/icon.svg" alt="" width="32" height="32" />Acme</NavLink>
        {signedIn && <Navigation />}
      </header>
      <main><Outlet /></main>
    </>
  );
}

function Navigation() {
  const navigate = useNavigate();
  const leave = async () => {
    await signOut();
    await navigate("/auth");
  };
  return (
    <>
      <nav aria-label="Main">
        <NavLink to="/" end>Home</NavLink>
        <NavLink to="/reports/2026">Report</NavLink>
        <NavLink to="/settings">Settings</NavLink>
        <NavLink to="/token">Token</NavLink>
      </nav>
      <button type="button" className="quiet" onClick={() => void leave()}>Sign out</button>
    </>
  );
}
