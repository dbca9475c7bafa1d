// Begins with everything, then follows the server's events; asks for everything again whenever a part was missed.

import { beginAt } from "./chart.js";
import { get, text } from "./dom.js";
import { count, span } from "./format.js";
import { spoken, t } from "./language.js";
import { Store } from "./store.js";
import * as alerts from "./panels/alerts.js";
import * as drift from "./panels/drift.js";
import * as experiment from "./panels/experiment.js";
import * as health from "./panels/health.js";
import "./panels/inspector.js";
import * as latency from "./panels/latency.js";
import * as loop from "./panels/loop.js";
import * as models from "./panels/models.js";
import * as ranking from "./panels/ranking.js";
import * as rates from "./panels/rates.js";

const LOST_MS = 6_000;
const AGAIN_MS = 3_000;

const store = new Store();
let heard = Date.now();
let begun = 0;
let asking = false;

async function begin() {
  if (asking || Date.now() - begun < AGAIN_MS) return;
  asking = true;
  try {
    const answer = await fetch(spoken("/api/state"));
    if (answer.status === 401) health.say("bad", t("This page may no longer be seen: the token is needed again."));
    if (!answer.ok) return;
    store.begin(await answer.json());
    heard = Date.now();
    show();
  } catch {
    // No answer: the interval below says so, and asks again.
  } finally {
    asking = false;
    begun = Date.now();
  }
}

function show() {
  if (!store.page) return;
  beginAt(store.from);
  health.show(store.page);
  for (const panel of [rates, alerts, models, latency, drift, ranking, loop, experiment]) panel.show(store);
  text(get("about"), t("Titles of {n} items are known.", { n: count(store.page.titles) }));
}

function follow() {
  const events = new EventSource(spoken("/events"));
  events.addEventListener("tick", (event) => {
    heard = Date.now();
    if (!store.follow(JSON.parse(event.data))) begin();
    show();
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) {
      setTimeout(follow, AGAIN_MS);
    }
  });
}

setInterval(() => {
  const silent = Date.now() - heard;
  if (silent > LOST_MS) {
    health.say("bad", t("This page has lost its server: nothing for {time}. It goes on by itself once the server is back.", { time: span(silent / 1000) }));
    begin();
  }
}, 1_000);

for (const panel of [rates, latency, drift]) panel.onChange(show);
await begin();
follow();
