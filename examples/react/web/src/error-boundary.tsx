import { Component, type PropsWithChildren } from "react";

// ErrorBoundary keeps a failure in rendering from leaving an empty page. The pre-built pages throw there when the API fails.
export class ErrorBoundary extends Component<PropsWithChildren, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main>
        <section className="card" role="alert">
          <h1>Something went wrong</h1>
          <p>The page could not be shown. The server may be out of reach.</p>
          <button type="button" onClick={() => location.reload()}>Try again</button>
        </section>
      </main>
    );
  }
}
