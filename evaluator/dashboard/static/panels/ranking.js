// Measures of shelves, exposure by brand, reliability of predicted probabilities.

import { get, h, rows, text } from "../dom.js";
import { count, percent, range } from "../format.js";

const NS = "http://www.w3.org/2000/svg";
const MEASURES = ["mrr", "ndcg@10", "diversity@10", "novelty@10"];
const [SIZE, LEFT, TOP] = [170, 44, 8];
const panels = new Map();

export function show({ page }) {
  const found = new Map(page.measures.map((row) => [`${row.measure} ${row.surface}`, row]));
  const surfaces = [...new Set(page.measures.filter((row) => MEASURES.includes(row.measure)).map((row) => row.surface))].sort();
  const digits = (value) => value.toFixed(2);
  rows(get("measures"), surfaces.map((surface) => [{ text: surface || "all", head: true }, ...MEASURES.map((measure) => {
    const row = found.get(`${measure} ${surface}`);
    return row ? { text: row.mean.toFixed(3), sub: `${row.interval ? `${range(...row.interval, digits)}, ` : ""}n ${count(row.count)}` } : "–";
  })]), "No attributed shelf yet.");
  const coverage = found.get("coverage@10 ");
  const between = coverage?.interval ? `, at most ${percent(coverage.interval[1])}: evaluators do not know what others saw` : "";
  text(get("coverage"), coverage ? `${percent(coverage.mean)} of the catalogue was in a first ten${between}.` : "");
  const most = Math.max(...page.exposure.filter((row) => row.brand).map((row) => row.share[0]), 0);
  rows(get("exposure"), page.exposure.map((row) => [
    { text: row.brand || "all others", head: true }, row.exposure.toFixed(1),
    { text: percent(row.share[0]), sub: range(row.share[1], row.share[2]) }, row.brand ? { text: "", bar: row.share[0] / most } : "",
  ]), "No item with a brand was shown yet.");
  text(get("calibration-empty"), page.calibration.length ? "" : "No attributed impression with a prediction yet.");
  page.calibration.forEach(reliability);
}

function reliability({ intent, count: seen, error, bins }) {
  let panel = panels.get(intent);
  if (!panel) {
    const table = h("table", {}, h("caption", { class: "unseen" }, `Calibration of ${intent}`),
      h("thead", {}, h("tr", {}, ...["Predicted", "Came", "Shown"].map((name) => h("th", { scope: "col", class: "n" }, name)))), h("tbody"));
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${LEFT + SIZE + 8} ${TOP + SIZE + 34}`);
    svg.setAttribute("role", "img");
    const said = h("p", { class: "sub" });
    const root = h("div", {}, h("h4", {}, `P(${intent})`), said, svg, h("details", {}, h("summary", {}, "As a table", h("span", { class: "unseen" }, `: calibration of ${intent}`)), table));
    panel = { table, svg, said };
    panels.set(intent, panel);
    get("calibration-charts").append(root);
  }
  text(panel.said, `ECE ${percent(error)} over ${count(seen)}`);
  panel.svg.setAttribute("aria-label", `Calibration of ${intent}: expected calibration error ${percent(error)} over ${count(seen)} impressions. `
    + bins.map((bin) => `Predicted ${percent(bin.predicted)}, came ${percent(bin.observed[0])}`).join("; "));
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
    const label = `${Number((value * 100).toPrecision(1))} %`;
    if (decades > 2 && (decades - decade) % 2) continue;
    add("text", { x: x(value), y: TOP + SIZE + 14, "text-anchor": decade === decades ? "end" : "middle" }, label);
    add("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, label);
  }
  add("line", { class: "diagonal", x1: x(10 ** -decades), y1: y(10 ** -decades), x2: x(1), y2: y(1) });
  add("text", { x: LEFT + SIZE / 2, y: TOP + SIZE + 30, "text-anchor": "middle" }, "predicted");
  for (const { predicted, observed: [rate, low, high] } of bins) {
    add("line", { class: "whisker", x1: x(predicted), x2: x(predicted), y1: y(low), y2: y(high) });
    add("circle", { class: "dot", cx: x(predicted), cy: y(rate), r: 3.2 });
  }
  svg.replaceChildren(...parts);
}
