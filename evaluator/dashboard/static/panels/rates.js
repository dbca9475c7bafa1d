// Click rate over time by arm, and all rates as tables.

import { Chart } from "../chart.js";
import { get, options, rows, text } from "../dom.js";
import { arm, armOrder, count, money, number, percent, span, withInterval } from "../format.js";
import { called, t } from "../language.js";

const pick = { window: get("rate-window"), surface: get("rate-surface") };
const chart = new Chart(get("rate-chart"), t("Click rate by arm"), percent, { height: 230 });

export function show(store) {
  const { page } = store;
  const surfaces = [...new Set(page.rates.map((row) => row.surface))].sort();
  options(pick.surface, [["*", t("All")], ...surfaces.map((name) => [name, called(name)])]);
  const [window, surface] = [pick.window.value, pick.surface.value];
  const arms = [...store.starting("ctr", window, surface)].filter(({ key }) => key[4] === "rate").map(({ key }) => key[3]).sort(armOrder);
  chart.draw(store.times, arms.map((name) => ({
    label: arm(name),
    values: store.values("ctr", window, surface, name, "rate"),
    band: [store.values("ctr", window, surface, name, "low"), store.values("ctr", window, surface, name, "high")],
  })).filter(({ values, band }) => values && band[0] && band[1]));

  const none = !page.rates.length && !arms.length;
  get("rate-empty").hidden = !none;
  if (none) {
    text(get("rate-empty"), t("No impression is attributed yet. One counts once its time for outcomes and for late events has passed: {time} after it was seen.", { time: span(store.closesAfterS) }));
  }
  const shown = page.rates.filter((row) => row.window === window && (surface === "*" || row.surface === surface));
  shown.sort((one, other) => (one.surface < other.surface ? -1 : one.surface > other.surface ? 1 : armOrder(one.arm, other.arm)));
  rows(get("rates"), shown.map((row) => [
    { text: called(row.surface), head: true }, arm(row.arm), { text: row.model || "–", cls: "long" }, count(row.impressions), count(row.clicks), count(row.purchases),
    withInterval(row.ctr), withInterval(row.cvr), withInterval(row.revenue, money), withInterval(row.debiased),
  ]), t("No attributed impression in this window."));
  rows(get("positions"), page.positions.map((row) => [
    { text: row.position, head: true }, count(row.impressions), withInterval(row.ctr), number(row.propensity),
  ]), t("No attributed impression yet."));
}

export const onChange = (again) => Object.values(pick).forEach((select) => select.addEventListener("change", again));
