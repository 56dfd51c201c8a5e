// One account: how it is and why, its folders, its last syncs, its latest messages, and what to do.

import { ask } from "./api.js";
import { el, show } from "./dom.js";
import { duration, number, percent } from "./format.js";
import { button, card, columns, meter, nothing, table, time } from "./parts.js";
import { Reconnection } from "./reconnect.js";
import { accountRuns } from "./runs.js";
import { CIRCUITS, PRIORITIES, TYPES, stateMark } from "./words.js";

const FOLDERS_SHOWN = 200;
const MESSAGES_SHOWN = 10;

export class Account {
  title = "Account";

  constructor(root, id, tell) {
    this.path = `providers/${id}`;
    this.body = el("div", { class: "flow" });
    this.tell = tell;
    this.reconnection = new Reconnection(this.path, tell);
    show(root, this.body, this.reconnection.dialog.element);
  }

  async look() {
    const explained = await ask(`${this.path}/explain`);
    const { account } = explained;
    this.account = account;
    const mail = `tenants/${encodeURIComponent(account.tenant_id)}/messages`;
    const [folders, messages] = await Promise.all([
      ask(`${this.path}/folders?limit=${FOLDERS_SHOWN}`),
      ask(`${mail}?provider_id=${account.id}&limit=${MESSAGES_SHOWN}`),
    ]);
    const now = Date.now();
    show(
      this.body,
      heading(account),
      this.buttons(account),
      why(explained),
      columns(
        [facts(explained, now), accountRuns(explained.runs, now), messageCard(messages.items, now)],
        folderCard(folders, now),
      ),
    );
  }

  /** Doings of this page's buttons. */
  doings = {
    sync: async () => this.do("sync", "It is synced before all others."),
    pause: async () => this.do("pause", "It is paused; what is stored stays."),
    resume: async () => this.do("resume", "It is synced again, and at once."),
    test: async () => {
      const { ok, detail } = await ask(`${this.path}/test`, { method: "POST" });
      this.tell(
        ok ? "The login works." : `The login does not work: ${detail}`,
        ok ? "good" : "bad",
      );
    },
    reconnect: async () => this.reconnection.begin(this.account),
  };

  async do(what, done) {
    await ask(`${this.path}/${what}`, { method: "POST" });
    this.tell(done, "good");
  }

  buttons(account) {
    const isActive = account.status === "active" && account.is_active;
    return el("div", { class: "buttons" }, [
      isActive ? button("Sync now", "sync", {}, "first") : button("Resume", "resume", {}, "first"),
      account.status !== "paused" ? button("Pause", "pause") : null,
      button("Test login", "test"),
      this.reconnection.serves(account) ? button("Reconnect …", "reconnect") : null,
    ]);
  }
}

function heading(account) {
  return el("header", { class: "heading" }, [
    el("p", { class: "quiet" }, `${account.tenant_id}, ${TYPES[account.provider_type]}`),
    el("h1", {}, account.email_address),
    el("p", {}, stateMark(account)),
  ]);
}

function why({ because, account }) {
  const sentences = because.map((each) => el("li", {}, each));
  const error =
    account.last_error &&
    el("p", { class: "error" }, `${account.last_error_class}: ${account.last_error}`);
  return el("section", { class: "why" }, [
    el("h2", { class: "unseen" }, "Why it is where it is"),
    el("ul", {}, sentences),
    error,
  ]);
}

function facts(explained, now) {
  const { account, stored_messages: stored, remote_messages: remote } = explained;
  const label = `${number(stored)} of ${number(remote)} messages are stored`;
  const late = account.unsynced_s >= 1 ? `by ${duration(account.unsynced_s)}` : "no";
  const pairs = [
    [
      "Messages",
      [
        `${number(stored)} of ${number(remote)} (${percent(stored, remote)})`,
        meter(stored, remote, label),
      ],
    ],
    ["Last synced", time(account.last_synced_at, now)],
    ["Next sync", nextSync(account, now)],
    ["Priority", `${PRIORITIES[account.priority]}: every ${duration(account.interval_s)}`],
    ["Behind schedule", late],
    ["Failures in a row", number(account.sync_error_count)],
    ["Circuit", CIRCUITS[account.circuit_state]],
    ["Folders that differ", number(explained.differing_folders)],
    ["Older mail to come in", `${number(explained.backfilling_folders)} folders`],
    ["Messages set aside", number(explained.quarantined)],
    ["Server", server(account.settings)],
    ["Added", time(account.created_at, now)],
  ];
  const list = pairs
    .filter(([, value]) => value)
    .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  return card("How it is", el("dl", {}, list));
}

function nextSync({ activity, next_try_at: at }, now) {
  if (at) return time(at, now);
  if (activity === "stopped") return "not before somebody acts";
  return activity === "syncing" ? "under way" : "as soon as a daemon has room";
}

function server({ host, port, security, username }) {
  return host ? `${host}:${port} (${security}) as ${username}` : null;
}

function folderCard({ items, next_cursor: more }, now) {
  if (!items.length) return card("Folders", nothing("Its folders are listed by its first sync."));
  const headings = [
    ["Folder", "half"],
    ["Stored", "count"],
    ["At the provider", "count"],
    ["Compared", "count"],
  ];
  const rows = items.map((folder) => ({ key: folder.id, cells: folderCells(folder, now) }));
  const beside = more ? el("p", { class: "quiet" }, `the first ${FOLDERS_SHOWN}`) : null;
  return card("Folders", table("Folders of this account", headings, rows), beside);
}

function folderCells(folder, now) {
  const { stored_count: stored, remote_count: remote } = folder;
  const isUnlike = remote !== null && remote !== stored;
  const note = folder.is_backfilling ? "older mail to come" : folder.role;
  return [
    [folder.path, note && el("span", { class: "quiet second" }, note)],
    number(stored),
    el(
      "span",
      { class: isUnlike ? "differs" : null },
      remote === null ? "not counted yet" : number(remote),
    ),
    time(folder.checked_at, now),
  ];
}

function messageCard(messages, now) {
  if (!messages.length) return card("Latest messages", nothing("Nothing is stored yet."));
  const headings = [
    ["Subject", "half"],
    ["From", ""],
    ["Received", "count"],
  ];
  const rows = messages.map((message) => ({
    key: message.id,
    cells: [
      message.subject || el("span", { class: "quiet" }, "no subject"),
      message.from_name || message.from_address || el("span", { class: "quiet" }, "unknown"),
      time(message.received_at ?? message.created_at, now),
    ],
  }));
  return card("Latest messages", table("The latest messages", headings, rows));
}
