// Alerts: those that fire, then those that ended, each with its evidence.

import { get, h, text } from "../dom.js";
import { listed, moment, number, span } from "../format.js";
import { called, language, named, t } from "../language.js";

const ENDED_SHOWN = 20;

export const evidence = (found) =>
  Object.entries(found).map(([name, value]) => [named(name), typeof value === "number" ? number(value) : String(value)]);

export function show({ page }) {
  const firing = page.alerts.filter(({ alert }) => alert.state === "firing");
  const ended = page.alerts.filter(({ alert }) => alert.state !== "firing").slice(0, ENDED_SHOWN);
  text(get("alerts-count"), firing.length ? t("{n} firing", { n: firing.length }) : t("None is firing."));
  const list = get("alerts-list");
  const key = JSON.stringify([firing, ended].map((some) => some.map(({ key, told }) => [key, told])));
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...[...firing, ...ended].map(entry));
    if (!firing.length && !ended.length) list.append(h("li", { class: "empty" }, t("No alert within the last day.")));
  }
  for (const item of list.querySelectorAll("[data-since]")) {
    text(item, t("since {moment}, for {time}", { moment: moment(Number(item.dataset.since)), time: span((page.now - Number(item.dataset.since)) / 1000) }));
  }
}

function entry({ alert, told }) {
  const fires = alert.state === "firing";
  const when = fires ? h("span", { class: "sub", "data-since": alert.since })
    : h("span", { class: "sub" }, t("{moment} to {end}, {time}", { moment: moment(alert.since), end: moment(alert.until), time: span((alert.until - alert.since) / 1000) }));
  const labels = Object.entries(alert.labels).filter(([, value]) => value).map(([name, value]) => `${named(name)} ${called(value)}`);
  return h("li", { class: fires ? "alert firing" : "alert" },
    h("p", { class: "alert-head" }, h("span", { class: "tag" }, fires ? t("Firing") : t("Ended")), " ", h("strong", {}, language === "en" ? alert.summary.charAt(0).toUpperCase() + alert.summary.slice(1) : alert.summary)),
    h("p", {}, when, h("span", { class: "sub" }, `${labels.length ? ` · ${listed(labels)}` : ""}${fires ? ` · ${t("last reported {moment}", { moment: moment(told) })}` : ""}`)),
    h("dl", {}, ...evidence(alert.evidence).map(([name, value]) => h("div", {}, h("dt", {}, name), " ", h("dd", {}, value)))));
}
