// The running experiment: e-values over time, and its arms.

import { Chart } from "../chart.js";
import { get, rows, text } from "../dom.js";
import { ENOUGH, arm, count, listed, number, ratio, withInterval } from "../format.js";
import { t } from "../language.js";

const power = (value) => (value === null || value === undefined ? "–" : number(10 ** value));
const chart = new Chart(get("evalue-chart"), t("E-value (log scale)"), power, { height: 200 });

export function show(store) {
  const { page } = store;
  const there = page.arms.length > 0;
  get("experiment-body").hidden = !there;
  text(get("experiment-empty"), there ? "" : t("No experiment is running."));
  if (!there) return;
  const tests = [...store.starting("evalue")].sort((one, other) => (one.key.join() < other.key.join() ? -1 : 1))
    .filter(({ key }, place, all) => key[1] === "clicks" || all.findIndex((one) => one.key[1] === key[1]) === place);
  const names = { clicks: t("difference in clicks"), traffic: t("wrong split") };
  chart.draw(store.times, [
    ...tests.map(({ key: [, test, name], values }) => ({ label: name && test === "clicks" ? listed([names[test], arm(name)]) : names[test] ?? test, values })),
    { label: t("enough"), values: store.times.map(() => ENOUGH), limit: true },
  ]);
  const evidence = (value) => (value === null ? "–" : { text: t("{n}-fold", { n: power(value) }), sub: value >= ENOUGH ? t("enough") : t("not enough") });
  rows(get("arms"), page.arms.map((row) => [
    { text: arm(row.arm), head: true }, count(row.shoppers), count(row.impressions), withInterval(row.ctr), ratio(row.ratio), evidence(row.clicks_log10), evidence(row.traffic_log10),
  ]));
}
