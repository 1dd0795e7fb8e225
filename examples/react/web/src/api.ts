import { useCallback, useEffect, useState } from "react";
import { apiDomain } from "./config";

// Refused is an answer of the API other than 2xx.
export class Refused extends Error {
  constructor(readonly status: number, readonly body: unknown) {
    super(`The server answered ${status}.`);
  }
}

// call asks the application's own API. SuperTokens wraps fetch: tokens are sent, refreshed and taken in without a word here.
export async function call<T = unknown>(path: string, method = "GET"): Promise<T> {
  const response = await fetch(apiDomain + path, { method });
  const body: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw new Refused(response.status, body);
  return body as T;
}

export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: string | undefined;
  readonly reload: () => Promise<void>;
}

// useLoaded is what load gives, and again after reload. load must be the same function from one rendering to the next.
export function useLoaded<T>(load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ data?: T; error?: string }>({});
  const reload = useCallback(async () => {
    try {
      setState({ data: await load() });
    } catch (error) {
      setState({ error: messageOf(error) });
    }
  }, [load]);
  useEffect(() => void reload(), [reload]);
  return { data: state.data, error: state.error, reload };
}

// messageOf is what a person reads about a failure: calls of SuperTokens throw the answer itself.
export function messageOf(error: unknown): string {
  if (error instanceof Response) return `The server answered ${error.status}.`;
  return error instanceof Error ? error.message : String(error);
}
