// Numbers and times as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const ONE_DIGIT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const EXACT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
];
const MINUTE_S = 60;
const KILO = 1_024;
const LONG_S = 30 * 86_400; // from then on a date says more than a distance

export const NOTHING = "–";

/** 12,345 */
export function number(value) {
  return WHOLE.format(value);
}

/** 0.4 below ten, 12,345 above. */
export function rate(value) {
  return value < 10 ? ONE_DIGIT.format(value) : WHOLE.format(value);
}

/** The share of a whole, never rounded up to all or down to nothing. */
export function percent(part, whole) {
  if (!whole) return NOTHING;
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.1) return "< 0.1 %";
  return `${ONE_DIGIT.format(share < 100 ? Math.min(share, 99.9) : share)} %`;
}

/** 340 ms, 4.2 s, 3 min, 2 h 5 min */
export function duration(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1_000))} ms`;
  if (seconds < MINUTE_S) return `${rate(seconds)} s`;
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[first];
  const whole = Math.floor(seconds / size);
  const below = UNITS[first + 1];
  const rest = below ? Math.floor((seconds - whole * size) / below[1]) : 0;
  return rest ? `${number(whole)} ${unit} ${rest} ${below[0]}` : `${number(whole)} ${unit}`;
}

/** 12 s ago, in 3 min, Nov 2, 2026; `now` in milliseconds */
export function distance(iso, now) {
  if (!iso) return "never";
  const seconds = (Date.parse(iso) - now) / 1_000;
  if (Math.abs(seconds) < 1) return "now";
  if (Math.abs(seconds) > LONG_S) return DAY.format(new Date(iso));
  const span = duration(Math.floor(Math.abs(seconds)));
  return seconds > 0 ? `in ${span}` : `${span} ago`;
}

/** The date and time, for a tooltip. */
export function exact(iso) {
  return iso ? EXACT.format(new Date(iso)) : null;
}

/** 3.4 MB */
export function bytes(value) {
  const power = value && Math.min(4, Math.floor(Math.log(value) / Math.log(KILO)));
  return `${rate(value / KILO ** power)} ${["B", "KB", "MB", "GB", "TB"][power]}`;
}
