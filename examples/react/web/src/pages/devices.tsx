import { useState } from "react";
import { useNavigate } from "react-router-dom";
import { FactorIds, redirectToFactor } from "supertokens-auth-react/recipe/multifactorauth";
import { listDevices, removeDevice } from "supertokens-web-js/recipe/totp";
import { messageOf, useLoaded } from "../api";
import { Problem } from "../page";

const loadDevices = async () => (await listDevices()).devices;

// Devices lists the user's authenticator apps. One more is set up on the pre-built page, which leads back to this one.
export function Devices() {
  const { data: devices, error, reload } = useLoaded(loadDevices);
  const navigate = useNavigate();
  const add = () => redirectToFactor({ factorId: FactorIds.TOTP, forceSetup: true, redirectBack: true, navigate });
  return (
    <>
      <Problem>{error}</Problem>
      {devices && (
        <ul className="devices" aria-label="Devices">
          {devices.map(({ name, verified }) => (
            <li key={name}>
              <span>{name}{!verified && <small> · not finished</small>}</span>
              <Remove name={name} last={verified && devices.filter((d) => d.verified).length === 1} removed={reload} />
            </li>
          ))}
        </ul>
      )}
      <button type="button" className="quiet" onClick={() => void add()}>Add a device</button>
    </>
  );
}

interface RemoveProps {
  readonly name: string;
  readonly last: boolean;
  readonly removed: () => Promise<void>;
}

// Remove asks once more: a device that is gone has to be set up anew.
function Remove({ name, last, removed }: RemoveProps) {
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string>();
  const remove = async () => {
    try {
      await removeDevice({ deviceName: name });
      await removed();
    } catch (error) {
      setProblem(messageOf(error));
    }
  };
  if (!asking) {
    return <button type="button" className="quiet small" aria-label={`Remove ${name}`} onClick={() => setAsking(true)}>Remove</button>;
  }
  return (
    <span className="confirm">
      <Problem>{problem}</Problem>
      {last && <small>It is the last one.</small>}
      <button type="button" className="small" autoFocus onClick={() => void remove()}>Remove it</button>
      <button type="button" className="quiet small" onClick={() => setAsking(false)}>Keep</button>
    </span>
  );
}
