// The way to Google's and Microsoft's consent pages, and what is told when the browser is back.

import { ask } from "./api.js";

const REASONS = {
  access_denied: "You did not agree, so nothing was connected.",
  expired: "This took too long. Please start again.",
  missing_scope: "Reading mail was not allowed. Start again and leave every box ticked.",
  no_mailbox: "Whoever signed in has no mailbox there.",
  other_browser: "Another browser began this. Please start again in this one.",
  wrong_mailbox: "You signed in to another mailbox than the one that is meant.",
};

/** Go to the issuer's consent page; the browser comes back to `place`, such as `/accounts`. */
export async function connect(issuer, place, order) {
  const returnTo = `${location.pathname}#${place}`;
  const body = { ...order, return_to: returnTo, bind_browser: true };
  const { consent_url: url } = await ask(`providers/${issuer}/connect`, { method: "POST", body });
  location.assign(url);
}

/** Return what came of it, as text and tone, and take it out of the address; null: nothing did. */
export function cameBack() {
  const told = new URLSearchParams(location.search);
  if (!told.has("connect")) return null;
  history.replaceState(null, "", location.pathname + location.hash);
  if (told.get("connect") !== "failed")
    return ["The mailbox is connected and synced at once.", "good"];
  const reason = told.get("reason");
  const known = Object.hasOwn(REASONS, reason) ? REASONS[reason] : null;
  return [known ?? "Nothing was connected; the daemon's log has the reason.", "bad"];
}
