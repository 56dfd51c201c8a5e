// The first page: how everything is, in one look.

import { address, ask } from "./api.js";
import { el, show } from "./dom.js";
import { NOTHING, duration, number, percent, rate } from "./format.js";
import { bars, card, columns, meter, nothing, table, time } from "./parts.js";
import { recentRuns } from "./runs.js";
import { CIRCUITS, NEEDS_A_PERSON, QUEUES, STATES, TYPES, mark, stateOf } from "./words.js";

const RUNS_SHOWN = 12;
const DAY_MINUTES = 1_440;
const MINUTE_S = 60;

export class Overview {
  title = "Overview";

  constructor(root) {
    this.root = root;
    this.onlyFailed = false;
  }

  async look() {
    const failed = { failed: true, minutes: DAY_MINUTES };
    const asked = { limit: RUNS_SHOWN, ...(this.onlyFailed ? failed : {}) };
    const [overview, runs] = await Promise.all([ask("overview"), ask(address("runs", asked))]);
    const now = Date.parse(overview.now);
    show(
      this.root,
      el("h1", { class: "unseen" }, "Overview"),
      concerns(overview),
      el("div", { class: "flow tiles" }, tiles(overview)),
      overview.daemon
        ? columns(
            [queues(overview.daemon), providers(overview.daemon)],
            [accounts(overview), circuits(overview, now)],
          )
        : columns([accounts(overview)], [circuits(overview, now)]),
      recentRuns(runs.items, now, this.onlyFailed),
    );
  }

  /** Doings of this page's buttons. */
  doings = {
    "show-runs": async ({ failed }) => {
      this.onlyFailed = failed === "yes";
    },
  };
}

function total(values) {
  return values.reduce((sofar, value) => sofar + value, 0);
}

function sum(standings, key = "accounts") {
  return total(standings.map((each) => each[key]));
}

/** By how much the least fresh of the accounts that are synced is older than its interval allows. */
function lateness(standings) {
  const synced = standings.filter(({ activity }) => activity !== "stopped");
  return Math.max(0, ...synced.map((each) => each.unsynced_s));
}

function inState(standings, state) {
  return standings.filter((each) => stateOf(each) === state);
}

function stateLink(state, text) {
  return el("a", { href: `#/accounts?state=${state}` }, text);
}

/** What somebody has to look at; nothing where all is well. */
function concerns({ standings, mail }) {
  const states = NEEDS_A_PERSON.map((state) => [state, sum(inState(standings, state))]);
  const parts = states
    .filter(([, count]) => count)
    .map(([state, count]) =>
      stateLink(state, `${number(count)} ${STATES[state].label.toLowerCase()}`),
    );
  if (mail.quarantined) parts.push(`${number(mail.quarantined)} messages set aside`);
  if (!parts.length)
    return el(
      "p",
      { class: "concerns well" },
      mark("All well", "good"),
      " Nothing waits for a person.",
    );
  const listed = parts.flatMap((part, place) => (place ? [", ", part] : [part]));
  return el("p", { class: "concerns" }, mark("Needs a person", "bad"), " ", listed);
}

function tile(title, value, below, drawing = null) {
  return el(
    "section",
    { class: "tile" },
    el("h2", {}, title),
    el("p", { class: "figure" }, value),
    drawing,
    el("p", { class: "below" }, below),
  );
}

function tiles({ standings, mail, pace, daemon }) {
  return [
    accountsTile(standings),
    mailTile(mail),
    paceTile("Messages a minute", pace, "messages", (span) => span.messages),
    paceTile(
      "Syncs a minute",
      pace,
      "syncs",
      (span) => span.completed,
      (span) => span.failed,
    ),
    daemon ? lagTile(daemon) : freshnessTile(standings),
  ];
}

function accountsTile(standings) {
  const all = sum(standings);
  const fine = sum(["idle", "due", "syncing"].flatMap((state) => inState(standings, state)));
  const below = all ? `${number(fine)} synced as planned` : "none yet";
  const label = `${number(fine)} of ${number(all)} accounts are synced as planned`;
  return tile("Accounts", number(all), below, meter(fine, all, label));
}

function mailTile({ stored_messages: stored, remote_messages: remote }) {
  const below = `${percent(stored, remote)} of ${number(remote)} at the providers`;
  const label = `${number(stored)} of ${number(remote)} messages are stored`;
  return tile("Messages stored", number(stored), below, meter(stored, remote, label));
}

/** How many a minute lately, and all of the last minutes; `failed` counts what went wrong. */
function paceTile(title, pace, what, of, failed = () => 0) {
  const values = pace.spans.map(of);
  const inMinute = Math.round(MINUTE_S / pace.span_s);
  const minutes = Math.round((values.length * pace.span_s) / MINUTE_S);
  const wrong = total(pace.spans.map(failed));
  const below = `${number(total(values))} in ${minutes} minutes${wrong ? `, ${number(wrong)} failed` : ""}`;
  return tile(
    title,
    rate(total(values.slice(-inMinute))),
    below,
    bars(values, `${what}: ${below}`),
  );
}

function lagTile({ queues: all, instances }) {
  const worst = all.reduce((most, queue) => (queue.lag_s > most.lag_s ? queue : most));
  const daemons = instances === 1 ? "one daemon" : `${number(instances)} daemons`;
  const where = worst.lag_s ? `queue ${QUEUES[worst.queue].toLowerCase()}` : "nothing waits";
  return tile("Longest lag", duration(worst.lag_s), `${where}, ${daemons}`);
}

function freshnessTile(standings) {
  const late = lateness(standings);
  return tile(
    "Behind schedule",
    duration(late),
    late ? "the least fresh account" : "all are fresh",
  );
}

function queues({ queues: all }) {
  const headings = [
    ["Queue", ""],
    ["Waiting", "count"],
    ["Running", "count"],
    ["Lag", "count"],
    ["Done", "count"],
    ["Failed", "count"],
    ["Average run", "count"],
  ];
  const rows = all.map((queue) => ({
    key: queue.queue,
    cells: [
      QUEUES[queue.queue],
      number(queue.waiting),
      `${number(queue.running)} of ${number(queue.workers)}`,
      duration(queue.lag_s),
      number(queue.completed),
      number(queue.failed),
      queue.average_duration_ms === null ? NOTHING : duration(queue.average_duration_ms / 1_000),
    ],
  }));
  const beside = el("p", { class: "quiet" }, "this daemon, since its start");
  return card("Queues", table("Queues of this daemon", headings, rows), beside);
}

function providers({ providers: all }) {
  const headings = [
    ["Provider", ""],
    ["Syncs now", "count"],
    ["Quota used, of our share", "most"],
  ];
  const rows = all.map((provider) => ({
    key: provider.provider_type,
    cells: [
      TYPES[provider.provider_type],
      `${number(provider.running)} of ${number(provider.concurrent)}`,
      provider.quotas.length
        ? provider.quotas.map((level) => quota(level, provider.provider_type))
        : NOTHING,
    ],
  }));
  return card("Providers", table("What providers are asked for", headings, rows));
}

function quota({ of, used, limit, window_s: windowS }, type) {
  const what = type === "google" ? "units" : "requests";
  const whose = of === "project" ? "all accounts" : "busiest mailbox";
  const text = `${number(used)} of ${number(limit)} ${what} in ${duration(windowS)}`;
  return el("div", { class: "quota", title: text }, [
    el("span", { class: "quiet" }, whose),
    el("span", {}, percent(used, limit)),
    meter(used, limit, `${whose}: ${text}`),
  ]);
}

function accounts({ standings }) {
  if (!standings.length) {
    const add = el("a", { href: "#/accounts" }, "Add the first one");
    return card(
      "Accounts by state",
      el("p", { class: "nothing" }, add, ", by hand or by the API."),
    );
  }
  const types = Object.keys(TYPES).filter((type) =>
    standings.some((each) => each.provider_type === type),
  );
  const headings = [
    ["State", ""],
    ...types.map((type) => [TYPES[type], "count"]),
    ["All", "count"],
    ["Most behind", "count"],
  ];
  const rows = Object.entries(STATES)
    .map(([state, { label, tone }]) => [state, mark(label, tone), inState(standings, state)])
    .filter(([, , members]) => members.length)
    .map(([state, label, members]) => ({
      key: state,
      cells: [
        stateLink(state, label),
        ...types.map((type) => number(sum(members.filter((each) => each.provider_type === type)))),
        number(sum(members)),
        lateness(members) >= 1 ? duration(lateness(members)) : NOTHING,
      ],
    }));
  return card("Accounts by state", table("Accounts by state and provider", headings, rows));
}

function circuits({ circuits: open, standings }, now) {
  const own = sum(standings, "open_circuits");
  const beside = own
    ? el("p", { class: "quiet" }, `${number(own)} accounts have an open circuit of their own`)
    : null;
  if (!open.length) {
    return card("Circuits", nothing("No server is left alone: all circuits are closed."), beside);
  }
  const headings = [
    ["Server", ""],
    ["State", ""],
    ["Failures", "count"],
    ["Accounts", "count"],
    ["Next try", "count"],
  ];
  const rows = open.map((circuit) => ({
    key: `${circuit.provider_type} ${circuit.endpoint}`,
    cells: [
      [circuit.endpoint, el("span", { class: "quiet second" }, TYPES[circuit.provider_type])],
      mark(CIRCUITS[circuit.state], circuit.state === "OPEN" ? "bad" : "warn"),
      number(circuit.failures),
      number(circuit.accounts),
      time(circuit.retry_at, now),
    ],
  }));
  return card("Circuits", table("Servers whose circuit is not closed", headings, rows), beside);
}
