// What several pages are made of: cards, tables, times, small drawings, empty states.

import { drawn, el } from "./dom.js";
import { distance, exact } from "./format.js";

/** A titled part of a page; `beside` stands at the right of the title. */
export function card(title, content, beside = null) {
  return el("section", { class: "card" }, el("header", {}, el("h2", {}, title), beside), content);
}

/** Cards in two columns, each as high as it needs; on a narrow screen one below the other. */
export function columns(left, right) {
  return el(
    "div",
    { class: "flow cards" },
    el("div", { class: "flow" }, left),
    el("div", { class: "flow" }, right),
  );
}

/** What stands where there is nothing to show. */
export function nothing(text) {
  return el("p", { class: "nothing" }, text);
}

/**
 * A table. Each column is [heading, class]; each row an array of cells, with an optional `key`.
 * The heading stands beside its cell where a narrow screen has no room for columns, for which the
 * style sheet takes the display of a table away; so the roles are said, or they would be lost with it.
 */
export function table(caption, columns, rows) {
  const headings = columns.map(([heading, kind]) =>
    el("th", { role: "columnheader", scope: "col", class: kind }, heading),
  );
  const body = rows.map(({ key, cells }) => {
    const filled = cells.map((cell, place) => tableCell(columns[place], cell, place));
    return el("tr", { role: "row", "data-key": key }, filled);
  });
  return el(
    "table",
    { role: "table" },
    el("caption", { class: "unseen" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, headings)),
    el("tbody", { role: "rowgroup" }, body),
  );
}

function tableCell([heading, kind], cell, place) {
  if (place === 0) return el("th", { role: "rowheader", scope: "row", class: kind }, cell);
  return el("td", { role: "cell", class: kind, "data-heading": heading }, cell);
}

/** How far a time is away, with the time itself as a tooltip. */
export function time(iso, now) {
  if (!iso) return el("span", { class: "quiet" }, "never");
  return el("time", { datetime: iso, title: exact(iso) }, distance(iso, now));
}

/** Bars, the latest at the right; `label` says in words what they show. */
export function bars(values, label) {
  const most = Math.max(1, ...values);
  const height = 24;
  const rects = values.map((value, place) => {
    const high = value && Math.max(1, (height * value) / most);
    return drawn("rect", { x: place, y: height - high, width: 0.7, height: high });
  });
  const frame = { class: "bars", viewBox: `0 0 ${values.length} ${height}`, role: "img" };
  return drawn("svg", { ...frame, preserveAspectRatio: "none", "aria-label": label }, rects);
}

/** A part of a whole as a filled line. */
export function meter(value, most, label) {
  const share = most ? Math.min(1, value / most) : 0;
  const frame = { class: "meter", viewBox: "0 0 100 4", role: "img", "aria-label": label };
  return drawn(
    "svg",
    { ...frame, preserveAspectRatio: "none" },
    drawn("rect", { class: "whole", width: 100, height: 4 }),
    drawn("rect", { class: "part", width: 100 * share, height: 4 }),
  );
}

/** A button; `data` is what the page's `doings` get. */
export function button(label, doing, data = {}, kind = null) {
  const given = Object.fromEntries(
    Object.entries(data).map(([key, value]) => [`data-${key}`, value]),
  );
  return el("button", { type: "button", class: kind, "data-do": doing, ...given }, label);
}
