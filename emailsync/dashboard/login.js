// The page that asks for a token, once.

import { ask } from "./api.js";
import { el, show } from "./dom.js";

/** Ask for a token; `entered` is called with the session that it begins. */
export function askForToken(root, entered, notice = null) {
  const field = el("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "token-hint token-refusal",
  });
  const refusal = el("p", { id: "token-refusal", class: "refusal", role: "alert" }, notice);
  const submit = el("button", { type: "submit", class: "first" }, "Log in");
  const form = el(
    "form",
    { class: "card login" },
    el("h1", {}, "emailsyncd"),
    el("label", { for: "token" }, "Access token"),
    field,
    el("p", { id: "token-hint", class: "quiet" }, ...hint()),
    submit,
    refusal,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      entered(await logIn(field.value));
    } catch (error) {
      refusal.textContent = error.message || "The daemon does not answer.";
      field.select();
    } finally {
      submit.disabled = false;
    }
  });
  show(root, form);
  field.focus();
}

/** Begin a session. */
export function logIn(token) {
  return ask("session", { method: "POST", body: { token } });
}

/** Return the token of a link such as `/#token=...`, and take it out of the address at once. */
export function tokenOfLink() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname);
  return decodeURIComponent(found[1]);
}

function hint() {
  return [
    "An administrator's is in the file ",
    el("code", {}, "http-token"),
    " of the state directory, or ",
    el("code", {}, "http.token_file"),
    "; ",
    el("code", {}, "emailsyncd token add"),
    " makes others.",
  ];
}
