// The header: one sentence; and each change, announced once to screen readers.

import { get, text } from "../dom.js";
import { t } from "../language.js";

const SIGNS = {
  ok: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z",
  warn: "M6 .8 11.6 11H.4z",
  bad: "M1 1h10v10H1z",
  none: "M6 1.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 1 0 0-9zm0 1.8a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 1 1 0-5.4z",
};

let level = null;
let firing = null;

export function show(page) {
  say(page.health.level, page.health.sentence);
  const now = new Map(page.alerts.filter(({ alert }) => alert.state === "firing").map(({ key, alert }) => [key, alert.summary]));
  const changes = [];
  if (firing) {
    for (const [key, summary] of now) if (!firing.has(key)) changes.push(t("Alert: {summary}.", { summary }));
    for (const [key, summary] of firing) if (!now.has(key)) changes.push(t("Ended: {summary}.", { summary }));
  }
  if (level !== null && level !== page.health.level) changes.push(page.health.sentence);
  if (changes.length) text(get("announce"), changes.join(" "));
  level = page.health.level;
  firing = now;
  text(get("nav-firing"), now.size ? t("({n} firing)", { n: now.size }) : "");
}

/** Show a level and a sentence; the page itself does so where it has lost its server. */
export function say(how, sentence) {
  const place = get("health");
  if (place.dataset.level !== how) {
    place.dataset.level = how;
    place.querySelector("path").setAttribute("d", SIGNS[how]);
  }
  text(get("health-text"), sentence);
}
