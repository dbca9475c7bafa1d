// Alerts: those that fire, then those that ended, each with its evidence.

import { get, h, text } from "../dom.js";
import { moment, number, span, words } from "../format.js";

const ENDED_SHOWN = 20;

export const evidence = (found) =>
  Object.entries(found).map(([name, value]) => [words(name), typeof value === "number" ? number(value) : String(value)]);

export function show({ page }) {
  const firing = page.alerts.filter(({ alert }) => alert.state === "firing");
  const ended = page.alerts.filter(({ alert }) => alert.state !== "firing").slice(0, ENDED_SHOWN);
  text(get("alerts-count"), firing.length ? `${firing.length} firing` : "None is firing.");
  const list = get("alerts-list");
  const key = JSON.stringify([firing, ended].map((some) => some.map(({ key, told }) => [key, told])));
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...[...firing, ...ended].map(entry));
    if (!firing.length && !ended.length) list.append(h("li", { class: "empty" }, "No alert within the last day."));
  }
  for (const item of list.querySelectorAll("[data-since]")) {
    text(item, `since ${moment(Number(item.dataset.since))}, for ${span((page.now - Number(item.dataset.since)) / 1000)}`);
  }
}

function entry({ alert, told }) {
  const fires = alert.state === "firing";
  const when = fires ? h("span", { class: "sub", "data-since": alert.since })
    : h("span", { class: "sub" }, `${moment(alert.since)} to ${moment(alert.until)}, ${span((alert.until - alert.since) / 1000)}`);
  const labels = Object.entries(alert.labels).filter(([, value]) => value).map(([name, value]) => `${words(name)} ${value}`).join(", ");
  return h("li", { class: fires ? "alert firing" : "alert" },
    h("p", { class: "alert-head" }, h("span", { class: "tag" }, fires ? "Firing" : "Ended"), " ", h("strong", {}, alert.summary.charAt(0).toUpperCase() + alert.summary.slice(1))),
    h("p", {}, when, h("span", { class: "sub" }, `${labels ? ` · ${labels}` : ""}${fires ? ` · last reported ${moment(told)}` : ""}`)),
    h("dl", {}, ...evidence(alert.evidence).map(([name, value]) => h("div", {}, h("dt", {}, name), " ", h("dd", {}, value)))));
}
