import { useEffect, useRef, type PropsWithChildren } from "react";
import { useNavigationType } from "react-router-dom";

interface PageProps extends PropsWithChildren {
  readonly title: string;
  readonly lead?: string;
}

// Page is a page of the application's own. After a click on a link its heading has the focus, so that screen readers say where one is.
export function Page({ title, lead, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const arrived = useNavigationType() !== "POP";
  useEffect(() => {
    document.title = `${title} · Acme`;
    if (arrived) heading.current?.focus();
  }, [title, arrived]);
  return (
    <>
      <div className="heading">
        <h1 ref={heading} tabIndex={-1}>{title}</h1>
        {lead && <p>{lead}</p>}
      </div>
      {children}
    </>
  );
}

export function Problem({ children }: { readonly children: string | undefined }) {
  return children ? <p className="problem" role="alert">{children}</p> : null;
}
