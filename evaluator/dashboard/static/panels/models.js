// Which model served when, by how many workers; the processes; what stands in which slot.

import { get, h, rows, text } from "../dom.js";
import { ago, clock, count, moment, percent } from "../format.js";
import { called, t } from "../language.js";

const MOST = 8;
const place = get("models-timeline");
const bars = h("div", { class: "timeline", role: "img" });
const axis = h("div", { class: "timeline-axis", "aria-hidden": "true" });
const table = h("table", {}, h("caption", { class: "unseen" }, t("Which model served when")),
  h("thead", {}, h("tr", {}, ...[t("Model"), t("From"), t("Until"), t("Workers at most")].map((name) => h("th", { scope: "col" }, name)))), h("tbody"));
place.append(h("h3", {}, t("Which model served")), bars, axis,
  h("details", {}, h("summary", {}, t("As a table"), h("span", { class: "unseen" }, `: ${t("Which model served when")}`)), table));

/** Stretches of steps in which a model served. */
function stretches(values) {
  const found = [];
  values.forEach((value, at) => {
    if (!value) return;
    const last = found.at(-1);
    if (last && last.to === at - 1) Object.assign(last, { to: at, most: Math.max(last.most, value) });
    else found.push({ from: at, to: at, most: value });
  });
  return found;
}

export function show(store) {
  const { page } = store;
  const [from, times] = [store.from, store.times.slice(store.from)];
  const models = [...store.starting("model")].map(({ key, values }) => ({ model: key[1] || t("not reported"), parts: stretches(values.slice(from)) }))
    .filter(({ parts }) => parts.length).sort((one, other) => other.parts.at(-1).to - one.parts.at(-1).to).slice(0, MOST);
  bars.replaceChildren(...models.flatMap(({ model, parts }, number) => [
    h("span", { class: "timeline-name" }, model),
    h("span", { class: "timeline-track" }, ...parts.map(({ from, to, most }) => {
      const bar = h("span", { class: `timeline-bar c${(number % 6) + 1}`, title: t("{from} to {until}, {n} workers", { from: clock(times[from]), until: clock(times[to]), n: count(most) }) });
      bar.style.left = `${(100 * from) / times.length}%`;
      bar.style.width = `${(100 * (to - from + 1)) / times.length}%`;
      return bar;
    })),
  ]));
  const all = models.flatMap(({ model, parts }) => parts.map((part) => ({ model, ...part })));
  const until = ({ to }) => (to >= times.length - 2 ? t("now") : clock(times[to] + store.stepMs));
  bars.setAttribute("aria-label", all.length ? all.map((part) => t("{model} from {from} until {until}", { model: part.model, from: clock(times[part.from]), until: until(part) })).join("; ") : t("No worker has reported."));
  const marks = [0, 0.25, 0.5, 0.75].map((share) => times[Math.floor(share * times.length)]);
  if (times.length) axis.replaceChildren(h("span"), h("span", { class: "marks" }, ...marks.map((at) => h("span", {}, clock(at).slice(0, 5))), h("span", {}, t("now"))));
  rows(table, all.map((part) => [{ text: part.model, head: true }, clock(times[part.from]), until(part), count(part.most)]), t("No worker has reported."));

  rows(get("processes"), page.processes.map((row) => {
    const state = row.alive ? "" : t("silent");
    const model = row.next ? `${row.model} → ${row.next}` : row.model || "–";
    const sub = row.next ? t("{share} of the items ready", { share: percent(Math.floor(100 * row.progress) / 100, 0) }) : row.behind ? t("{n} items to encode", { n: count(row.behind) }) : "";
    const when = { text: ago(row.silent_s), sub: state };
    if (row.alive && row.trouble) Object.assign(when, { sub: row.trouble, bad: true });
    return [{ text: called(row.role), sub: row.id, head: true }, when, count(row.lag), row.items === null ? "–" : count(row.items), { text: model, sub, cls: "long" }];
  }), t("No process has reported within the last hour."));

  get("slots-region").hidden = !page.slots.length;
  rows(get("slots"), page.slots.flatMap((row) => [
    [{ text: called(row.slot), head: true }, { text: row.current ? row.current.version : t("empty"), cls: "long" }, row.current ? moment(row.current.since) : "–", row.current ? row.current.reason : ""],
    ...row.before.slice(0, 3).map((held) => [{ text: t("{slot}, before", { slot: called(row.slot) }), head: true }, { text: held.version, cls: "long" }, moment(held.since), held.reason]),
  ]));
}
