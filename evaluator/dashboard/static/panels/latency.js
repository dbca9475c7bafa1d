// How long stages take, how much is done, how far behind.

import { Chart } from "../chart.js";
import { get, options, rows } from "../dom.js";
import { count, ms, number } from "../format.js";
import { named, t } from "../language.js";

const LEVELS = ["p50", "p90", "p99"];
const ORDER = ["end_to_end", "end_to_end.search", "queue", "state", "wait", "encode", "candidates", "score", "policy", "reasons", "write"];
const TITLES = { freshness: t("shelf's age when seen"), delay: t("event to joined"), join: t("join a batch"), commit: t("commit a batch") };
const pick = get("stage");
const small = { height: 120 };
const latency = new Chart(get("latency-chart"), t("Time taken, ms (log scale)"), ms, { height: 300, log: true, floor: 0.01 });
const flow = new Chart(get("flow-chart"), t("Per second"), number, { ...small, zero: true });
const lag = new Chart(get("lag-chart"), t("Consumer lag, events"), count, { ...small, zero: true });
const fresh = new Chart(get("fresh-chart"), t("Shelf's age when seen, ms (log scale)"), ms, { ...small, log: true, floor: 1 });
const delay = new Chart(get("delay-chart"), t("Event to joined, ms (log scale)"), ms, { ...small, log: true, floor: 1 });

const titled = (role, stage) => TITLES[stage] ?? (role === "evaluator" ? t("{stage} (evaluator)", { stage: named(stage) }) : named(stage));

function place({ role, stage }) {
  const known = ORDER.indexOf(stage);
  return [role === "worker" ? 0 : 1, known < 0 ? ORDER.length : known, stage];
}

function order(one, other) {
  const [mine, theirs] = [place(one), place(other)];
  const at = mine.findIndex((part, number) => part !== theirs[number]);
  return at < 0 ? 0 : mine[at] < theirs[at] ? -1 : 1;
}

const quantiles = (store, role, stage, levels = LEVELS) =>
  levels.map((label) => ({ label, values: store.values("stage", role, stage, label) })).filter(({ values }) => values);

export function show(store) {
  const known = [...new Set([...store.starting("stage")].map(({ key }) => `${key[1]}/${key[2]}`))]
    .map((name) => ({ name, role: name.split("/")[0], stage: name.slice(name.indexOf("/") + 1) })).sort(order);
  if (known.length) options(pick, known.map(({ name, role, stage }) => [name, titled(role, stage)]));
  const [role, ...stage] = pick.value.split("/");
  latency.draw(store.times, quantiles(store, role, stage.join("/")));
  flow.draw(store.times, ["events", "shelves"].map((what) => ({ label: named(what), values: store.values("flow", what) })).filter(({ values }) => values));
  lag.draw(store.times, ["worker", "evaluator"].map((role) => ({ label: named(`${role}s`), values: store.values("lag", role) })).filter(({ values }) => values));
  fresh.draw(store.times, quantiles(store, "evaluator", "freshness", ["p50", "p99"]));
  delay.draw(store.times, quantiles(store, "evaluator", "delay", ["p50", "p99"]));
  rows(get("stages"), [...store.page.stages].sort(order).map((row) => [
    { text: titled(row.role, row.stage), head: true }, count(row.count), ms(row.p50), ms(row.p90), ms(row.p99),
  ]), t("Nothing was timed within the last minute."));
}

export const onChange = (again) => pick.addEventListener("change", again);
