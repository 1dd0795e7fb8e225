import SuperTokens from "supertokens-auth-react";
import EmailPassword from "supertokens-auth-react/recipe/emailpassword";
import { EmailPasswordPreBuiltUI } from "supertokens-auth-react/recipe/emailpassword/prebuiltui";
import MultiFactorAuth from "supertokens-auth-react/recipe/multifactorauth";
import { MultiFactorAuthPreBuiltUI } from "supertokens-auth-react/recipe/multifactorauth/prebuiltui";
import Session from "supertokens-auth-react/recipe/session";
import TOTP from "supertokens-auth-react/recipe/totp";
import { TOTPPreBuiltUI } from "supertokens-auth-react/recipe/totp/prebuiltui";
import { apiDomain, tokenTransferMethod } from "./config";
import style from "./prebuilt.css?inline";

// A factor more is one recipe more here, its pages below, and an entry of secondFactors.
export function init(): void {
  SuperTokens.init({
    appInfo: { appName: "Acme", apiDomain, websiteDomain: location.origin },
    recipeList: [
      Session.init({ tokenTransferMethod }),
      // The program sends no mail, so passwords are not reset. prebuilt.css hides the link to the page.
      EmailPassword.init({ resetPasswordUsingTokenFeature: { disableDefaultUI: true } }),
      MultiFactorAuth.init({ firstFactors: [MultiFactorAuth.FactorIds.EMAILPASSWORD] }),
      TOTP.init(),
    ],
    style,
  });
}

export const preBuiltUIs = [EmailPasswordPreBuiltUI, MultiFactorAuthPreBuiltUI, TOTPPreBuiltUI];
