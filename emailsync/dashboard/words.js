// What the API's names are called on the page, and how they are marked.

import { el } from "./dom.js";

/** The states of accounts in the order of their concern: how one is asked for, and its mark. */
export const STATES = {
  stalled: { label: "Stalled", tone: "bad", query: { activity: "stalled" } },
  needs_reconnect: { label: "Needs reconnect", tone: "bad", query: { status: "needs_reconnect" } },
  error: { label: "Wrong settings", tone: "bad", query: { status: "error" } },
  waiting: { label: "Kept back", tone: "warn", query: { activity: "waiting" } },
  due: { label: "Due", tone: "calm", query: { activity: "due" } },
  syncing: { label: "Syncing", tone: "busy", query: { activity: "syncing" } },
  idle: { label: "Up to date", tone: "good", query: { activity: "idle" } },
  paused: { label: "Paused", tone: "off", query: { status: "paused" } },
  off: { label: "Switched off", tone: "off", query: { activity: "stopped", status: "active" } },
};

export const NEEDS_A_PERSON = ["stalled", "needs_reconnect", "error"];
export const TYPES = { imap: "IMAP", google: "Gmail", microsoft: "Microsoft 365" };
export const QUEUES = { high: "High", normal: "Normal", low: "Low" };
export const PRIORITIES = { critical: "Critical", high: "High", normal: "Normal", low: "Low" };
export const CIRCUITS = { CLOSED: "Closed", OPEN: "Open", HALF_OPEN: "Trying" };
const RESULTS = {
  done: ["Done", "good"],
  sliced: ["More to come", "busy"],
  retry: ["Failed, tries again", "warn"],
  failed: ["Failed", "bad"],
  throttled: ["Asked to wait", "warn"],
  deferred: ["Circuit open", "warn"],
  needs_reconnect: ["Login refused", "bad"],
  misconfigured: ["Wrong settings", "bad"],
  lease_lost: ["Taken over", "off"],
  cancelled: ["Daemon stopped", "off"],
};

/** The name in STATES of an account, or of what counts some. */
export function stateOf({ status, activity }) {
  if (status !== "active") return status;
  return activity === "stopped" ? "off" : activity;
}

/** A mark that tells by its words, and by its colour as well. */
export function mark(label, tone) {
  return el("span", { class: `mark ${tone}` }, label);
}

export function stateMark(account) {
  const { label, tone } = STATES[stateOf(account)];
  return mark(label, tone);
}

export function resultMark(result) {
  const [label, tone] = RESULTS[result] ?? [result, "off"];
  return mark(label, tone);
}
