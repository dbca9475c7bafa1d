// Numbers and times in words. Every function takes null for what is not known.

const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : NONE);

/** Few letters, for an axis: 10k, 2.5M. */
export const short = (value) => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 2 }).replace("K", "k");

/** About three digits, whatever the size. */
export function number(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return short(value);
  if (size < 1e-4) return value.toExponential(1);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

export function percent(value) {
  if (!known(value)) return NONE;
  const share = value * 100;
  return `${share.toFixed(share >= 10 || share === 0 ? 1 : share >= 0.1 ? 2 : 3)} %`;
}

/** A range, the unit said once. */
export function range(low, high, form = percent) {
  if (!known(low) || !known(high)) return "";
  const [one, other] = [form(low), form(high)];
  return one.endsWith(" %") && other.endsWith(" %") ? `${one.slice(0, -2)} – ${other}` : `${one} – ${other}`;
}

/** A cell: the value, and its interval smaller beneath. */
export const withInterval = ([rate, low, high], form = percent) =>
  known(rate) ? { text: form(rate), sub: range(low, high, form) } : { text: NONE };

/** Evidence that is enough, as a power of ten: twenty to one. */
export const ENOUGH = Math.log10(20);

/** A cell: how many times one rate is another. An end that is not known is open. */
export function ratio(estimate) {
  if (!estimate) return { text: NONE };
  const [value, low, high] = estimate;
  return { text: number(value), sub: known(high) ? range(low, high, number) : `more than ${number(low)}` };
}

export function ms(value) {
  if (!known(value)) return NONE;
  if (value >= 60_000) return span(value / 1000);
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 100 ? Math.round(value).toLocaleString("en") : value >= 10 ? value.toFixed(1) : number(Number(value.toFixed(2)));
}

export function span(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} d`;
}

export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
export const moment = (at) =>
  new Date(at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export const arm = (name) => name || "not ours";

/** The champion first, shelves that are not ours last. */
export const armOrder = (one, other) => armRank(one) - armRank(other) || (one < other ? -1 : one > other ? 1 : 0);
const armRank = (name) => (name === "champion" ? 0 : name ? 1 : 2);

export const words = (name) => name.replaceAll("_", " ");
