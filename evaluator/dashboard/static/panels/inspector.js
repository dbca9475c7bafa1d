// Asks for one shelf, and shows it with titles.

import { get, rows, text } from "../dom.js";
import { arm, moment, percent, span } from "../format.js";

const WHAT = { feed: "Shopper", search: "Query", similar: "Item", popular: "Segment (empty: all)" };
const WHY = {
  vector: "alike in meaning", lexical: "same words", together: "seen together", trending: "in demand", explore: "by chance, to learn",
};
const form = get("ask");
const kind = get("ask-kind");

kind.addEventListener("change", adapt);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = new URLSearchParams({ kind: kind.value, value: get("ask-value").value });
  if (kind.value === "search") asked.set("user", get("ask-user").value);
  try {
    const answer = await fetch(`/api/shelf?${asked}`);
    const found = await answer.json();
    show(answer.ok ? found : { said: found.error, items: [] });
  } catch {
    show({ said: "The dashboard does not answer.", items: [] });
  }
});
adapt();

function adapt() {
  text(get("ask-what"), WHAT[kind.value]);
  get("ask-value").required = kind.value !== "popular";
  get("ask-user-field").hidden = kind.value !== "search";
}

const why = (reason) => reason.split("+").map((part) => WHY[part] ?? part).join(", ");

function show({ said, exact, key, age_s: age, shelf_id: id, surface, model, arm: whose, items }) {
  text(get("found-said"), said);
  get("found-said").className = exact || exact === undefined ? "" : "fallback";
  text(get("found-about"), id
    ? `Surface ${surface}, model ${model}, arm ${arm(whose)}, made ${span(age)} ago (${moment(Date.now() - 1000 * age)}), shelf ${id}. Asked first: ${key}`
    : key ? `Asked first: ${key}` : "");
  get("found-shelf").hidden = !items.length;
  rows(get("shelf"), items.map((item) => [
    String(item.place), { text: item.item_id, head: true }, item.title ?? { text: "not in the catalogue", cls: "empty" },
    item.score.toFixed(3), percent(item.buy), percent(item.read), percent(item.look), why(item.reason),
  ]));
}
