// Asks for one shelf, and shows it with titles, what each item owes its place to, and a search's term matches.

import { get, h, rows, text } from "../dom.js";
import { arm, moment, percent, span } from "../format.js";

const WHAT = { feed: "Shopper", search: "Query", similar: "Item", popular: "Segment (empty: all)" };
const WHY = {
  vector: "alike in meaning", lexical: "same words", together: "seen together", trending: "in demand",
  explore: "by chance, to learn", new: "new", again: "acted on before", like: "like a past item", matches: "has words of the query",
  searched: "like a past search", due: "due again", popular: "popular now", own: "acted on before", week: "in demand this week",
  day: "in demand today", linear: "bought by the same shoppers",
};
const HOW = { like: "like it", together: "seen together with it", searched: "like this search" };
const form = get("ask");
const kind = get("ask-kind");
let asked = new URLSearchParams();

kind.addEventListener("change", adapt);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  asked = new URLSearchParams({ kind: kind.value, value: get("ask-value").value });
  if (kind.value === "search") asked.set("user", get("ask-user").value);
  show(await ask("/api/shelf"));
});
get("explain").addEventListener("click", async () => {
  text(get("matches-said"), "Matching. The first time takes some seconds: the model is loaded.");
  get("explain").disabled = true;
  const of = asked;
  const found = await ask("/api/matches");
  get("explain").disabled = false;
  if (of === asked) showMatches(found);
});
adapt();

/** The answer to what was asked last; an error is one without items. */
async function ask(path) {
  try {
    const answer = await fetch(`${path}?${asked}`);
    const found = await answer.json();
    return answer.ok ? found : { said: found.error, items: [], past: [], words: [], rows: [] };
  } catch {
    return { said: "The dashboard does not answer.", items: [], past: [], words: [], rows: [] };
  }
}

function adapt() {
  text(get("ask-what"), WHAT[kind.value]);
  get("ask-value").required = kind.value !== "popular";
  get("ask-user-field").hidden = kind.value !== "search";
}

/** A reason in words; `of` is the title of the item that it names. */
function why({ why: what, parts = [], of }) {
  const quoted = parts.map((part) => `“${part}”`).join(", ");
  if (!parts.length) return what.split("+").map((part) => WHY[part] ?? part).join(", ");
  if (what === "matches") return `matches ${quoted}`;
  if (what === "like") return { text: `like ${of ?? parts[0]}`, sub: of ? parts[0] : "" };
  if (what === "together") return { text: `seen together with ${of ?? parts[0]}`, sub: of ? parts[0] : "" };
  if (what === "searched") return `like the search ${quoted}`;
  return `${WHY[what] ?? what} ${quoted}`;
}

function show({ said, exact, key, age_s: age, shelf_id: id, surface, model, arm: whose, items, past }) {
  text(get("found-said"), said);
  get("found-said").className = exact || exact === undefined ? "" : "fallback";
  text(get("found-about"), id
    ? `Surface ${surface}, model ${model}, arm ${arm(whose)}, made ${span(age)} ago (${moment(Date.now() - 1000 * age)}), shelf ${id}. Asked first: ${key}`
    : key ? `Asked first: ${key}` : "");
  get("found-shelf").hidden = !items.length;
  rows(get("shelf"), items.map((item) => [
    String(item.place), { text: item.item_id, head: true }, item.title ?? { text: "not in the catalogue", cls: "empty" },
    item.score.toFixed(3), percent(item.buy), percent(item.read), percent(item.look), why(item),
  ]));
  get("found-past").hidden = !past.length;
  rows(get("past"), past.map((one) => [
    { text: one.title ?? one.part, sub: one.title ? one.part : "", head: true }, HOW[one.why] ?? one.why,
    String(one.places.length), one.places.join(", "),
  ]));
  get("found-words").hidden = surface !== "search";
  showMatches({ said: "", words: [], rows: [] });
}

function showMatches({ said, words, rows: found }) {
  text(get("matches-said"), said);
  get("found-matches").hidden = !found.length;
  const heading = (name, cls) => h("th", { scope: "col", class: cls }, name);
  get("matches").tHead.rows[0].replaceChildren(heading("Place", "n"), heading("Item"), ...words.map((word) => heading(`“${word}”`)));
  rows(get("matches"), found.map((row) => [
    String(row.place), { text: row.text, sub: row.item_id, head: true },
    ...row.cells.map((cell) => (cell
      ? { text: cell.word, sub: `${cell.cosine.toFixed(2)}${cell.named ? ", named" : ""}`, cls: cell.named ? "named" : "", bar: Math.max(0, cell.cosine) }
      : { text: "not read", cls: "empty" })),
  ]));
}
