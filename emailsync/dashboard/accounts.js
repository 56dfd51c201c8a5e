// All accounts: searched, narrowed down by state and type, page by page.

import { Addition } from "./addition.js";
import { address, ask } from "./api.js";
import { el, show } from "./dom.js";
import { NOTHING, duration } from "./format.js";
import { button, nothing, table, time } from "./parts.js";
import { PRIORITIES, STATES, TYPES, stateMark } from "./words.js";

const SHOWN = 50;
const TYPING_MS = 250; // after the last key, before it is searched for
const COLUMNS = [
  ["Account", "long"],
  ["State", "roomy"],
  ["Provider", ""],
  ["Priority", "spare"],
  ["Last synced", "count"],
  ["Behind schedule", "count"],
];

export class Accounts {
  title = "Accounts";

  /**
   * @param query what the address of the page says: state, type, search.
   * @param tenant whose accounts are seen; null: everybody's.
   * @param again looks again at once.
   */
  constructor(root, query, tenant, again) {
    this.wanted = { state: "", type: "", search: "", ...Object.fromEntries(query) };
    this.pages = [null]; // the cursors of the pages up to the one that is shown
    this.next = null;
    this.again = again;
    this.list = el("div", { class: "flow" });
    this.addition = new Addition(tenant);
    show(root, this.heading(), this.form(), this.list, this.addition.dialog.element);
  }

  async look() {
    const { state, type, search } = this.wanted;
    const query = { search, provider_type: type, ...STATES[state]?.query };
    const cursor = this.pages.at(-1);
    const page = await ask(address("providers", { ...query, limit: SHOWN, cursor }));
    this.next = page.next_cursor;
    show(this.list, this.shown(page.items), this.turning());
  }

  /** Doings of this page's buttons. */
  doings = {
    add: async () => this.addition.dialog.open(),
    "next-page": async () => this.pages.push(this.next),
    "previous-page": async () => this.pages.pop(),
  };

  heading() {
    return el(
      "header",
      { class: "titled" },
      el("h1", {}, "Accounts"),
      button("Add account …", "add"),
    );
  }

  form() {
    const search = el("input", {
      type: "search",
      name: "search",
      id: "search",
      maxlength: 320,
      placeholder: "Address or tenant",
    });
    search.value = this.wanted.search;
    const form = el("form", { class: "filters", role: "search" }, [
      el("label", { class: "unseen", for: "search" }, "Search for an address or a tenant"),
      search,
      this.choice(
        "state",
        "State",
        Object.entries(STATES).map(([key, { label }]) => [key, label]),
      ),
      this.choice("type", "Provider", Object.entries(TYPES)),
    ]);
    let typed = null;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.narrow(new FormData(form)), TYPING_MS);
    });
    return form;
  }

  choice(name, label, options) {
    const select = el("select", { name, "aria-label": label }, [
      el("option", { value: "" }, `${label}: all`),
      options.map(([value, text]) => el("option", { value }, text)),
    ]);
    select.value = this.wanted[name];
    return select;
  }

  narrow(data) {
    this.wanted = Object.fromEntries([...data].map(([name, value]) => [name, value.trim()]));
    this.pages = [null];
    history.replaceState(null, "", address("#/accounts", this.wanted));
    this.again();
  }

  shown(accounts) {
    if (accounts.length) {
      const rows = accounts.map((account) => ({ key: account.id, cells: cells(account) }));
      return el("section", { class: "card" }, table("Accounts", COLUMNS, rows));
    }
    const isNarrow = Object.values(this.wanted).some(Boolean);
    const text = isNarrow ? "No account is like this." : "No account has been added yet.";
    return el("section", { class: "card" }, nothing(text));
  }

  turning() {
    if (this.pages.length === 1 && !this.next) return null;
    return el(
      "nav",
      { class: "turning", "aria-label": "Pages of accounts" },
      [
        this.pages.length > 1 && button("Previous", "previous-page"),
        this.next && button("Next", "next-page"),
      ].filter(Boolean),
    );
  }
}

function cells(account) {
  return [
    [
      el("a", { href: `#/accounts/${account.id}` }, account.email_address),
      el("span", { class: "quiet second" }, account.tenant_id),
    ],
    [
      stateMark(account),
      account.last_error && el("span", { class: "second error" }, account.last_error),
    ],
    TYPES[account.provider_type],
    PRIORITIES[account.priority],
    time(account.last_synced_at, Date.now()),
    account.unsynced_s >= 1 ? duration(account.unsynced_s) : NOTHING,
  ];
}
