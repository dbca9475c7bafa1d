// Numbers, money and times as the reader writes them. Every function takes null for what is not known.

import { called, language, locale, t } from "./language.js";

const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const formats = new Map();

/** A number by options of Intl; making a format takes longer than using it. */
function write(value, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale, options));
  return formats.get(key).format(value);
}

export const count = (value) => (known(value) ? write(value, { maximumFractionDigits: 0 }) : NONE);

/** As many digits after the point. */
export const fixed = (value, digits) => write(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Few letters, for an axis: 10k, 2.5M. */
export function short(value) {
  const said = write(value, { notation: "compact", maximumSignificantDigits: 2 });
  return language === "en" ? said.replace("K", "k") : said;
}

/** About three digits, whatever the size. */
export function number(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return short(value);
  if (size < 1e-4) return value.toExponential(1);
  return size >= 100 ? count(value) : write(value, { maximumSignificantDigits: 3 });
}

const currency = document.documentElement.dataset.currency;

/** Money in the shop's currency; a plain number where the settings name none. */
export const money = (value) => (currency && known(value)
  ? write(value, { style: "currency", currency, currencyDisplay: "narrowSymbol", maximumSignificantDigits: 3 }) : number(value));

export function percent(value, digits = null) {
  if (!known(value)) return NONE;
  const share = value * 100;
  const shown = digits ?? (share >= 10 || share === 0 ? 1 : share >= 0.1 ? 2 : 3);
  return write(value, { style: "percent", minimumFractionDigits: shown, maximumFractionDigits: shown });
}

/** A range, the unit said once. */
export function range(low, high, form = percent) {
  if (!known(low) || !known(high)) return "";
  const [one, other] = [form(low), form(high)];
  return one.endsWith("%") && other.endsWith("%") ? `${one.slice(0, -1).trimEnd()} – ${other}` : `${one} – ${other}`;
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
  return { text: number(value), sub: known(high) ? range(low, high, number) : t("more than {n}", { n: number(low) }) };
}

export function ms(value) {
  if (!known(value)) return NONE;
  if (value >= 60_000) return span(value / 1000);
  if (value >= 10_000) return t("{n} s", { n: fixed(value / 1000, 1) });
  return value >= 100 ? count(value) : value >= 10 ? fixed(value, 1) : number(Number(value.toFixed(2)));
}

export function span(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 60) return t("{n} s", { n: count(seconds) });
  if (seconds < 3600) return t("{n} min", { n: count(seconds / 60) });
  if (seconds < 86_400) return t("{n} h", { n: fixed(seconds / 3600, 1) });
  return t("{n} d", { n: fixed(seconds / 86_400, 1) });
}

export const ago = (seconds) => t("{time} ago", { time: span(Math.max(0, seconds)) });

const hours = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
export const clock = (at) => new Date(at).toLocaleTimeString(locale, { ...hours, second: "2-digit" });
export const moment = (at) => new Date(at).toLocaleString(locale, { day: "numeric", month: "short", ...hours });

export const arm = (name) => (name ? called(name) : t("not ours"));

/** Several words as one list. */
export const listed = (words) => words.join(t(", "));

/** The champion first, shelves that are not ours last. */
export const armOrder = (one, other) => armRank(one) - armRank(other) || (one < other ? -1 : one > other ? 1 : 0);
const armRank = (name) => (name === "champion" ? 0 : name ? 1 : 2);
