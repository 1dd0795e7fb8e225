import { Link } from "react-router-dom";
import { Page } from "../page";

export function NotFound() {
  return <Page title="Nothing here"><p><Link to="/">To the start</Link></p></Page>;
}
