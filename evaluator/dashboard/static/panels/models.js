// Which model served when, by how many workers; the processes; what stands in which slot.

import { get, h, rows, text } from "../dom.js";
import { clock, count, moment, span } from "../format.js";

const MOST = 8;
const place = get("models-timeline");
const bars = h("div", { class: "timeline", role: "img" });
const axis = h("div", { class: "timeline-axis", "aria-hidden": "true" });
const table = h("table", {}, h("caption", { class: "unseen" }, "Which model served when"),
  h("thead", {}, h("tr", {}, ...["Model", "From", "Until", "Workers at most"].map((name) => h("th", { scope: "col" }, name)))), h("tbody"));
place.append(h("h3", {}, "Which model served"), bars, axis,
  h("details", {}, h("summary", {}, "As a table", h("span", { class: "unseen" }, ": which model served when")), table));

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
  const models = [...store.starting("model")].map(({ key, values }) => ({ model: key[1] || "not reported", parts: stretches(values.slice(from)) }))
    .filter(({ parts }) => parts.length).sort((one, other) => other.parts.at(-1).to - one.parts.at(-1).to).slice(0, MOST);
  bars.replaceChildren(...models.flatMap(({ model, parts }, number) => [
    h("span", { class: "timeline-name" }, model),
    h("span", { class: "timeline-track" }, ...parts.map(({ from, to, most }) => {
      const bar = h("span", { class: `timeline-bar c${(number % 6) + 1}`, title: `${clock(times[from])} to ${clock(times[to])}, ${most} workers` });
      bar.style.left = `${(100 * from) / times.length}%`;
      bar.style.width = `${(100 * (to - from + 1)) / times.length}%`;
      return bar;
    })),
  ]));
  const all = models.flatMap(({ model, parts }) => parts.map((part) => ({ model, ...part })));
  const until = ({ to }) => (to >= times.length - 2 ? "now" : clock(times[to] + store.stepMs));
  bars.setAttribute("aria-label", all.length ? all.map((part) => `${part.model} from ${clock(times[part.from])} until ${until(part)}`).join("; ") : "No worker has reported.");
  const marks = [0, 0.25, 0.5, 0.75].map((share) => times[Math.floor(share * times.length)]);
  if (times.length) axis.replaceChildren(h("span"), h("span", { class: "marks" }, ...marks.map((at) => h("span", {}, clock(at).slice(0, 5))), h("span", {}, "now")));
  rows(table, all.map((part) => [{ text: part.model, head: true }, clock(times[part.from]), until(part), count(part.most)]), "No worker has reported.");

  rows(get("processes"), page.processes.map((row) => {
    const state = row.alive ? "" : "silent";
    const model = row.next ? `${row.model} → ${row.next}` : row.model || "–";
    const sub = row.next ? `${Math.floor(100 * row.progress)} % of the items ready` : row.behind ? `${count(row.behind)} items to encode` : "";
    const when = { text: `${span(row.silent_s)} ago`, sub: state };
    if (row.alive && row.trouble) Object.assign(when, { sub: row.trouble, bad: true });
    return [{ text: row.role, sub: row.id, head: true }, when, count(row.lag), row.items === null ? "–" : count(row.items), { text: model, sub, cls: "long" }];
  }), "No process has reported within the last hour.");

  get("slots-region").hidden = !page.slots.length;
  rows(get("slots"), page.slots.flatMap((row) => [
    [{ text: row.slot, head: true }, { text: row.current ? row.current.version : "empty", cls: "long" }, row.current ? moment(row.current.since) : "–", row.current ? row.current.reason : ""],
    ...row.before.slice(0, 3).map((held) => [{ text: `${row.slot}, before`, head: true }, { text: held.version, cls: "long" }, moment(held.since), held.reason]),
  ]));
}
