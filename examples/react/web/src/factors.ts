import type { ComponentType } from "react";
import { FactorIds } from "supertokens-auth-react/recipe/multifactorauth";
import { Devices } from "./pages/devices";

// SecondFactor is what the settings page offers. The Go program has the same ids in secondFactors.
export interface SecondFactor {
  readonly id: string;
  readonly name: string;
  readonly explanation: string;
  readonly Details?: ComponentType;
}

export const secondFactors: readonly SecondFactor[] = [
  {
    id: FactorIds.TOTP,
    name: "Authenticator app",
    explanation: "An app on your phone shows a code of six digits, which you type in after your password.",
    Details: Devices,
  },
];
