// Runs, as tables: the last ones of everybody, and those of one account.

import { el } from "./dom.js";
import { NOTHING, bytes, duration, number } from "./format.js";
import { button, card, nothing, table, time } from "./parts.js";
import { QUEUES, TYPES, resultMark } from "./words.js";

const FACTS = [
  ["Result", "roomy"],
  ["Queue", "spare"],
  ["Changes", "count roomy"],
  ["Fetched", "count spare"],
  ["Took", "count"],
  ["Began", "count"],
];

/** The last runs of all accounts, with the choice to see failed ones only. */
export function recentRuns(runs, now, onlyFailed) {
  const choice = el("div", { class: "choice", role: "group", "aria-label": "Which runs" }, [
    chosen(button("All", "show-runs", { failed: "no" }), !onlyFailed),
    chosen(button("Failed", "show-runs", { failed: "yes" }), onlyFailed),
  ]);
  const none = onlyFailed
    ? "No sync failed in the last day."
    : "No account was synced in the last hour.";
  const rows = runs.map((run) => ({
    cells: [
      [
        el("a", { href: `#/accounts/${run.provider_id}` }, run.email_address),
        el("span", { class: "quiet second" }, `${run.tenant_id}, ${TYPES[run.provider_type]}`),
      ],
      ...facts(run, now),
    ],
  }));
  const content = rows.length
    ? table("The last syncs", [["Account", "long"], ...FACTS], rows)
    : nothing(none);
  return card("Last syncs", content, choice);
}

/** The last runs of one account. */
export function accountRuns(runs, now) {
  if (!runs.length) return card("Last syncs", nothing("It has not been synced yet."));
  const [first, ...others] = FACTS;
  const rows = runs.map((run) => ({ key: run.id, cells: facts(run, now) }));
  return card("Last syncs", table("The last syncs of this account", [first, ...others], rows));
}

function facts(run, now) {
  return [
    [resultMark(run.result), run.error && el("span", { class: "second error" }, run.error)],
    QUEUES[run.queue] ?? run.queue,
    changes(run),
    run.fetched_bytes ? bytes(run.fetched_bytes) : NOTHING,
    duration(run.duration_ms / 1_000),
    time(run.started_at, now),
  ];
}

function changes({ created, updated, deleted }) {
  const kinds = [
    ["new", created],
    ["changed", updated],
    ["deleted", deleted],
  ];
  const there = kinds.filter(([, count]) => count);
  return there.length
    ? there.map(([kind, count]) => `${number(count)} ${kind}`).join(", ")
    : NOTHING;
}

function chosen(choice, isChosen) {
  choice.setAttribute("aria-pressed", String(isChosen));
  return choice;
}
