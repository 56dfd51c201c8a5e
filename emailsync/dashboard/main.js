// From an address to its page, from a button to what it does, and from a session to its end.

import { Account } from "./account.js";
import { Accounts } from "./accounts.js";
import { Away, ask } from "./api.js";
import { cameBack } from "./connect.js";
import { el, show } from "./dom.js";
import { askForToken, logIn, tokenOfLink } from "./login.js";
import { Overview } from "./overview.js";
import { Poll } from "./poll.js";

const TOLD_MS = 8_000;
const UNAUTHORISED = 401;
const NOT_FOUND = 404;

const bar = document.getElementById("bar");
const live = document.getElementById("live");
const messages = document.getElementById("messages");
const content = document.getElementById("content");

let page = null;
let poll = null;
let session = null; // null: nobody is logged in

function pageAt(hash) {
  const [, path, query] = /^#?([^?]*)\??(.*)$/.exec(hash);
  const account = /^\/accounts\/([0-9a-f-]{36})$/.exec(path);
  if (account) return (root) => new Account(root, account[1], tell);
  if (path === "/accounts") {
    return (root) =>
      new Accounts(root, new URLSearchParams(query), session.tenant_id, () => poll.now());
  }
  return (root) => new Overview(root);
}

/** Show the page of the address. */
function open() {
  poll?.stop();
  const root = el("div", { class: "page" });
  content.replaceChildren(root);
  page = pageAt(location.hash)(root);
  document.title = `${page.title} – emailsyncd`;
  const isAccounts = location.hash.startsWith("#/accounts");
  for (const link of bar.querySelectorAll("nav a")) {
    const isCurrent = (link.getAttribute("href") === "#/accounts") === isAccounts;
    isCurrent ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  poll = new Poll(() => page.look(), note);
  poll.now();
}

/** Say how the last look went. */
function note(outcome) {
  const isLive = outcome === "live";
  if (outcome.status === UNAUTHORISED) return leave("Your session is over. Please log in again.");
  if (outcome.status === NOT_FOUND) {
    poll.stop();
    show(
      content.firstChild,
      el("p", { class: "card nothing" }, "There is no such account, or it is not yours to see."),
    );
    return undefined;
  }
  live.className = isLive ? "live" : "live away";
  const trouble =
    outcome instanceof Away ? "The daemon does not answer; trying again" : outcome.message;
  const text = isLive ? "Live" : trouble;
  if (live.textContent !== text) live.textContent = text;
  document.body.classList.toggle("stale", !isLive);
  return undefined;
}

function enter(begun) {
  session = begun;
  bar.hidden = false;
  live.textContent = "";
  open();
  const outcome = cameBack();
  if (outcome) tell(...outcome);
}

function leave(notice) {
  session = null;
  poll?.stop();
  bar.hidden = true;
  messages.replaceChildren();
  document.body.classList.remove("stale");
  document.title = "emailsyncd";
  askForToken(content, enter, notice);
}

/** Say something for a while; screen readers read it out. */
function tell(text, tone) {
  const message = el("p", { class: `message ${tone}` }, text);
  messages.append(message);
  setTimeout(() => message.remove(), TOLD_MS);
}

const doings = {
  skip: async () => content.focus(), // the address names the page, so no link of this page can
  "log-out": async () => {
    await ask("session", { method: "DELETE" });
    leave("You are logged out.");
  },
};

document.addEventListener("click", async (event) => {
  const pressed = event.target.closest("button[data-do]");
  if (!pressed || pressed.getAttribute("aria-disabled")) return;
  const doing = doings[pressed.dataset.do] ?? page.doings[pressed.dataset.do];
  pressed.setAttribute("aria-disabled", "true");
  try {
    await doing(pressed.dataset);
    if (session) await poll.now();
  } catch (error) {
    if (error.status === UNAUTHORISED) leave("Your session is over. Please log in again.");
    else tell(error instanceof Away ? "The daemon does not answer." : error.message, "bad");
  } finally {
    pressed.removeAttribute("aria-disabled");
  }
});

window.addEventListener("hashchange", () =>
  location.hash.startsWith("#token=") ? begin() : session && open(),
);

/**
 * Go in by the session that there is, or else by the token of the address. A link may be somebody
 * else's: it must not make us work in another tenant unawares.
 */
async function begin() {
  try {
    const token = tokenOfLink();
    const there = await ask("session");
    if (there.scope) enter(there);
    else token ? enter(await logIn(token)) : leave(null);
    if (there.scope && token) tell("You are logged in already; to use the link, log out.", "bad");
  } catch (error) {
    leave(error instanceof Away ? "The daemon does not answer." : error.message);
  }
}

begin();
