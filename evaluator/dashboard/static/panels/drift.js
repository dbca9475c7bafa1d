// Each detector's statistic against its limit: small charts of those nearest to it, and all of them as a table.

import { Chart } from "../chart.js";
import { get, rows, text } from "../dom.js";
import { arm, listed, number } from "../format.js";
import { called, named, t } from "../language.js";
import { evidence } from "./alerts.js";

const FEW = 8;
const ALERTS = {
  click_rate: "click_rate_drop",
  holdback: "click_rate_below_holdback",
  items: "item_drift",
  queries: "query_drift",
};
const charts = new Map();
const all = get("drift-all");

const title = ({ watch, surface, arm: whose }) => listed([named(watch), called(surface), called(whose)].filter(Boolean));

/** Evidence of the alert that a monitor has raised. */
function behind(page, row) {
  const fits = page.alerts.filter(({ alert }) => alert.state === "firing"
    && (alert.labels.surface ?? "") === row.surface && (alert.labels.arm ?? "") === row.arm
    && (ALERTS[row.watch] ? alert.name === ALERTS[row.watch] : alert.name.startsWith(row.watch)));
  return fits.length ? listed(evidence(fits[0].alert.evidence).map((pair) => pair.join(" "))) : "";
}

export function show(store) {
  const { page } = store;
  const shown = page.watches.slice(0, all.checked ? undefined : FEW);
  text(get("drift-empty"), page.watches.length ? "" : t("No detector has reported yet."));
  all.parentElement.hidden = page.watches.length <= FEW;
  const place = get("drift-charts");
  const wanted = new Set(shown.map(title));
  for (const [name, chart] of charts) {
    if (!wanted.has(name)) {
      chart.remove();
      charts.delete(name);
    }
  }
  for (const row of shown) {
    const name = title(row);
    const key = ["drift", row.watch, row.surface, row.arm];
    const lines = [
      { label: row.rising ? t("statistic") : "p", values: store.values(...key, "statistic") },
      { label: t("limit"), values: store.values(...key, "limit"), limit: true },
    ].filter(({ values }) => values);
    if (!charts.has(name)) charts.set(name, new Chart(place, name, number, { height: 96, log: true, floor: row.rising ? 0.1 : 1e-9, compact: true }));
    charts.get(name).heading.dataset.alarm = t("Alarm");
    charts.get(name).root.classList.toggle("alarmed", row.alarm);
    charts.get(name).draw(store.times, lines);
  }
  rows(get("watches"), page.watches.map((row) => [
    row.alarm ? { text: t("Alarm"), cls: "tag bad" } : t("calm"),
    { text: named(row.watch), head: true }, called(row.surface || "all"), row.arm ? arm(row.arm) : "–",
    `${row.rising ? "" : "p "}${number(row.statistic)}`, t(row.rising ? "from {limit}" : "below {limit}", { limit: number(row.limit) }), row.alarm ? { text: behind(page, row), cls: "wordy" } : "",
  ]), t("No detector has reported yet."));
}

export const onChange = (again) => all.addEventListener("change", again);
