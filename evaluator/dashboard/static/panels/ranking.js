// Measures of shelves, exposure by brand, reliability of predicted probabilities.

import { get, h, rows, text } from "../dom.js";
import { count, fixed, listed, percent, range } from "../format.js";
import { called, t } from "../language.js";

const NS = "http://www.w3.org/2000/svg";
const MEASURES = ["mrr", "ndcg@10", "diversity@10", "novelty@10"];
const [SIZE, LEFT, TOP] = [170, 44, 8];
const panels = new Map();

export function show({ page }) {
  const found = new Map(page.measures.map((row) => [`${row.measure} ${row.surface}`, row]));
  const surfaces = [...new Set(page.measures.filter((row) => MEASURES.includes(row.measure)).map((row) => row.surface))].sort();
  const digits = (value) => fixed(value, 2);
  rows(get("measures"), surfaces.map((surface) => [{ text: called(surface || "all"), head: true }, ...MEASURES.map((measure) => {
    const row = found.get(`${measure} ${surface}`);
    return row ? { text: fixed(row.mean, 3), sub: listed([...(row.interval ? [range(...row.interval, digits)] : []), `n ${count(row.count)}`]) } : "–";
  })]), t("No attributed shelf yet."));
  const coverage = found.get("coverage@10 ");
  const share = { share: percent(coverage?.mean), most: percent(coverage?.interval?.[1]) };
  text(get("coverage"), !coverage ? "" : coverage.interval
    ? t("{share} of the catalogue was in a first ten, at most {most}: evaluators do not know what others saw.", share)
    : t("{share} of the catalogue was in a first ten.", share));
  const most = Math.max(...page.exposure.filter((row) => row.brand).map((row) => row.share[0]), 0);
  rows(get("exposure"), page.exposure.map((row) => [
    { text: row.brand || t("all others"), head: true }, fixed(row.exposure, 1),
    { text: percent(row.share[0]), sub: range(row.share[1], row.share[2]) }, row.brand ? { text: "", bar: row.share[0] / most } : "",
  ]), t("No item with a brand was shown yet."));
  text(get("calibration-empty"), page.calibration.length ? "" : t("No attributed impression with a prediction yet."));
  page.calibration.forEach(reliability);
}

function reliability({ intent, count: seen, error, bins }) {
  let panel = panels.get(intent);
  if (!panel) {
    const table = h("table", {}, h("caption", { class: "unseen" }, t("Calibration of {intent}", { intent: called(intent) })),
      h("thead", {}, h("tr", {}, ...[t("Predicted"), t("Came"), t("Shown")].map((name) => h("th", { scope: "col", class: "n" }, name)))), h("tbody"));
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${LEFT + SIZE + 8} ${TOP + SIZE + 34}`);
    svg.setAttribute("role", "img");
    const said = h("p", { class: "sub" });
    const root = h("div", {}, h("h4", {}, `P(${called(intent)})`), said, svg, h("details", {}, h("summary", {}, t("As a table"), h("span", { class: "unseen" }, `: ${t("Calibration of {intent}", { intent: called(intent) })}`)), table));
    panel = { table, svg, said };
    panels.set(intent, panel);
    get("calibration-charts").append(root);
  }
  text(panel.said, t("ECE {error} over {n}", { error: percent(error), n: count(seen) }));
  panel.svg.setAttribute("aria-label", [
    t("Calibration of {intent}: expected calibration error {error} over {n} impressions.", { intent: called(intent), error: percent(error), n: count(seen) }),
    ...bins.map((bin) => t("Predicted {predicted}, came {came}.", { predicted: percent(bin.predicted), came: percent(bin.observed[0]) })),
  ].join(" "));
  rows(panel.table, bins.map((bin) => [percent(bin.predicted), { text: percent(bin.observed[0]), sub: range(bin.observed[1], bin.observed[2]) }, count(bin.count)]));
  const key = JSON.stringify(bins);
  if (panel.key !== key) {
    panel.key = key;
    draw(panel.svg, bins);
  }
}

/** Both axes are logarithmic, from the smallest that is there to 1. */
function draw(svg, bins) {
  const smallest = Math.min(...bins.flatMap((bin) => [bin.predicted, bin.observed[0] || bin.observed[2] / 2]).filter((value) => value > 0), 0.1);
  const decades = Math.min(5, Math.max(1, Math.ceil(-Math.log10(smallest))));
  const at = (value) => Math.min(1, Math.max(0, 1 + Math.log10(Math.max(value, 1e-9)) / decades));
  const [x, y] = [(value) => LEFT + at(value) * SIZE, (value) => TOP + (1 - at(value)) * SIZE];
  const parts = [];
  const add = (tag, attributes, label) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (label) element.textContent = label;
    parts.push(element);
  };
  for (let decade = 0; decade <= decades; decade += 1) {
    const value = 10 ** (decade - decades);
    add("line", { class: "grid", x1: x(value), x2: x(value), y1: TOP, y2: TOP + SIZE });
    add("line", { class: "grid", x1: LEFT, x2: LEFT + SIZE, y1: y(value), y2: y(value) });
    const label = percent(value, Math.max(0, -Math.round(Math.log10(value)) - 2));
    if (decades > 2 && (decades - decade) % 2) continue;
    add("text", { x: x(value), y: TOP + SIZE + 14, "text-anchor": decade === decades ? "end" : "middle" }, label);
    add("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, label);
  }
  add("line", { class: "diagonal", x1: x(10 ** -decades), y1: y(10 ** -decades), x2: x(1), y2: y(1) });
  add("text", { x: LEFT + SIZE / 2, y: TOP + SIZE + 30, "text-anchor": "middle" }, t("predicted"));
  for (const { predicted, observed: [rate, low, high] } of bins) {
    add("line", { class: "whisker", x1: x(predicted), x2: x(predicted), y1: y(low), y2: y(high) });
    add("circle", { class: "dot", cx: x(predicted), cy: y(rate), r: 3.2 });
  }
  svg.replaceChildren(...parts);
}
