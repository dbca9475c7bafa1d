// One chart over time: uPlot, a legend with the values under the cursor, and a table of the same values.

import uPlot from "./uplot/uPlot.esm.js";
import { colour, h, rows, text } from "./dom.js";
import { clock, listed, range, short } from "./format.js";
import { t } from "./language.js";

const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]];
const COLOURS = 6;
const charts = new Set();

let from = 0;

/** Where all axes begin, as a place in the times. */
export const beginAt = (place) => { from = place; };

document.addEventListener("themechange", () => charts.forEach((chart) => chart.rebuild()));

export class Chart {
  /**
   * @param place element that takes the chart
   * @param title what it shows
   * @param form turns a value into words
   * @param options height; log for a log scale (`floor` stands for what it cannot show); zero lets the scale begin there
   */
  constructor(place, title, form, { height = 220, log = false, floor = 1e-12, zero = false, compact = false } = {}) {
    Object.assign(this, { title, form, height, log, floor, zero, compact });
    this.heading = h("h3", {}, title);
    this.legend = h("ul", { class: "legend" });
    this.canvas = h("div", { class: "canvas", role: "img" });
    this.table = h("table", {}, h("caption", { class: "unseen" }, title), h("thead", {}, h("tr")), h("tbody"));
    this.details = h("details", {}, h("summary", {}, t("As a table"), h("span", { class: "unseen" }, `: ${title}`)),
      h("div", { class: "scroll tall", role: "region", "aria-label": t("{title}, as a table", { title }), tabindex: "0" }, this.table));
    this.details.addEventListener("toggle", () => this.tabulate());
    this.root = h("div", { class: compact ? "chart compact" : "chart" }, this.heading, this.legend, this.canvas, this.details);
    place.append(this.root);
    this.lines = [];
    this.times = [];
    charts.add(this);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.canvas);
  }

  remove() {
    charts.delete(this);
    this.watcher.disconnect();
    this.plot?.destroy();
    this.root.remove();
  }

  /** Lines are {label, values, band: [low, high], limit, note}; a limit is drawn thin and dashed. */
  draw(times, lines) {
    this.times = times;
    this.lines = lines;
    const shape = JSON.stringify(lines.map(({ label, band, limit }) => [label, Boolean(band), Boolean(limit)]));
    if (shape !== this.shape) {
      this.shape = shape;
      this.rebuild();
    } else {
      this.plot?.setData(this.data());
    }
    this.showLegend(this.plot?.cursor.idx ?? null);
    this.describe();
    this.tabulate();
  }

  data() {
    const shown = (values) => (this.log ? values.map((value) => (value === null ? null : Math.max(value, this.floor))) : values);
    return [this.times.map((time) => time / 1000), ...this.lines.flatMap(({ values, band }) =>
      (band ? [band[1], values, band[0]] : [values]).map(shown))];
  }

  rebuild() {
    this.plot?.destroy();
    const [ink, line] = [colour("muted"), colour("line")];
    const series = [{}];
    const bands = [];
    let number = 0;
    for (const { band, limit } of this.lines) {
      const stroke = limit ? colour("limit") : colour(`c${(number % COLOURS) + 1}`);
      const dash = limit ? [5, 4] : DASHES[number % DASHES.length];
      const own = { stroke, dash, width: limit ? 1 : 1.75, points: { show: false } };
      if (band) {
        const edge = { stroke: "transparent", width: 0, points: { show: false } };
        bands.push({ series: [series.length, series.length + 2], fill: colour(`c${(number % COLOURS) + 1}`, 0.14) });
        series.push(edge, own, edge);
      } else {
        series.push(own);
      }
      if (!limit) number += 1;
    }
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const range = this.log ? undefined : (_, low, high) => this.range(low, high);
    this.plot = new uPlot({
      width: Math.max(120, this.canvas.clientWidth),
      height: this.height,
      series,
      bands,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: () => [this.times[from] / 1000, this.times.at(-1) / 1000] }, y: { distr: this.log ? 3 : 1, range } },
      axes: [
        { ...axis, size: 22, space: this.compact ? 80 : 60, values: [
          [3600, "{HH}:{mm}", null, null, null, null, null, null, 1],
          [60, "{HH}:{mm}", null, null, null, null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
        { ...axis, size: this.compact ? 46 : 54, space: this.compact ? 26 : 34,
          values: (_, splits) => splits.map((value) => this.tick(value)),
          ...(this.log ? { splits: (plot, axisNumber, low, high) => this.decades(low, high), filter: (plot, splits) => splits } : {}) },
      ],
      hooks: { setCursor: [(plot) => this.showLegend(plot.cursor.idx ?? null)] },
    }, this.data(), this.canvas);
  }

  tick(value) {
    const text = this.form(value);
    return Math.abs(value) >= 10_000 && /^[\d,.]+$/.test(text) ? short(value) : text;
  }

  /** Powers of ten, not more than there is room for. */
  decades(low, high) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, this.height / 40)));
    return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, number) => 10 ** (first + number * every));
  }

  /** What the scale has to hold: all values; of intervals, which are wide while there are few counts, nine tenths. */
  range(...all) {
    let [low, high] = all;
    if (low === null || high === null) return [0, 1];
    if (this.lines.some(({ band }) => band)) {
      const known = (values) => values.slice(from).filter((value) => value !== null).sort((one, other) => one - other);
      const each = this.lines.map(({ values, band }) => [values, ...(band ?? [values, values])].map(known)).filter(([values]) => values.length);
      low = Math.min(...each.map(([values, lows]) => Math.min(values[0], lows[Math.floor(lows.length * 0.1)])));
      high = Math.max(...each.map(([values, , highs]) => Math.max(values.at(-1), highs[Math.ceil(highs.length * 0.9) - 1])));
    }
    const bottom = this.zero ? 0 : low - (high - low) * 0.1;
    const top = high + (high - low || Math.abs(high) || 1) * 0.1;
    return [low >= 0 ? Math.max(0, bottom) : bottom, top];
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  /** The values at a place of the axis, or the last ones that are known. */
  at(index) {
    return this.lines.map(({ values, band }) => {
      const place = index ?? values.findLastIndex((value) => value !== null);
      const value = place >= 0 ? values[place] : null;
      return { value, low: band?.[0][place] ?? null, high: band?.[1][place] ?? null };
    });
  }

  showLegend(index) {
    let number = 0;
    const found = this.at(index);
    const wanted = this.lines.length;
    while (this.legend.children.length > wanted) this.legend.lastChild.remove();
    this.lines.forEach(({ label, limit, note }, place) => {
      const mark = limit ? "limit" : `c${(number % COLOURS) + 1}`;
      const dash = limit ? "5 4" : DASHES[number % DASHES.length].join(" ");
      if (!limit) number += 1;
      let entry = this.legend.children[place];
      if (!entry) {
        entry = h("li", {}, h("span", { class: "swatch", "aria-hidden": "true" }), h("span"), " ", h("b"), h("span", { class: "sub" }));
        this.legend.append(entry);
      }
      if (entry.dataset.mark !== `${mark} ${dash}`) {
        entry.dataset.mark = `${mark} ${dash}`;
        const ns = "http://www.w3.org/2000/svg";
        const [svg, line] = [document.createElementNS(ns, "svg"), document.createElementNS(ns, "line")];
        for (const [name, value] of [["width", 22], ["height", 8]]) svg.setAttribute(name, value);
        for (const [name, value] of [["x1", 0], ["x2", 22], ["y1", 4], ["y2", 4], ["class", mark], ["stroke-dasharray", dash]]) line.setAttribute(name, value);
        svg.append(line);
        entry.firstChild.replaceChildren(svg);
      }
      const { value, low, high } = found[place];
      text(entry.children[1], label);
      text(entry.children[2], this.form(value));
      const interval = low === null || high === null ? "" : ` ${this.form(low)} – ${this.form(high)}`;
      text(entry.children[3], note ? `${interval} ${note}` : interval);
    });
  }

  describe() {
    const found = this.at(null);
    const said = this.lines.map(({ label }, place) => {
      const { value, low, high } = found[place];
      return `${label} ${this.form(value)}${low === null ? "" : ` (${range(low, high, this.form)})`}`;
    });
    const latest = said.length ? t("Latest: {values}.", { values: listed(said) }) : t("No data yet.");
    this.canvas.setAttribute("aria-label", `${t("Chart of {title}, last hour.", { title: this.title })} ${latest}`);
  }

  /** One row a minute, the newest first; filled only while it is open. */
  tabulate() {
    if (!this.details.open) return;
    const head = this.table.tHead.rows[0];
    const labels = [t("Time"), ...this.lines.map(({ label }) => label)];
    if (head.dataset.key !== labels.join()) {
      head.dataset.key = labels.join();
      head.replaceChildren(...labels.map((label, place) => h("th", { scope: "col", class: place ? "n" : null }, label)));
    }
    const known = this.times.map((_, place) => place).filter((place) => this.lines.some(({ values }) => values[place] !== null));
    const every = Math.max(1, Math.ceil(known.length / 60));
    rows(this.table, known.reverse().filter((_, place) => place % every === 0).map((place) => [
      { text: clock(this.times[place]), head: true },
      ...this.lines.map(({ values, band }) => ({
        text: this.form(values[place]),
        sub: band && values[place] !== null ? `${this.form(band[0][place])} – ${this.form(band[1][place])}` : "",
      })),
    ]), t("No data yet."));
  }
}
