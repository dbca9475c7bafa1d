// Asks for one shelf, and shows it with titles, what each item owes its place to, and a search's term matches.

import { get, h, rows, text } from "../dom.js";
import { ago, arm, count, fixed, listed, moment, percent } from "../format.js";
import { called, spoken, t } from "../language.js";

const WHAT = { feed: t("Shopper"), search: t("Query"), similar: t("Item"), popular: t("Segment (empty: all)") };
const WHY = {
  vector: t("alike in meaning"), lexical: t("same words"), together: t("seen together"), trending: t("in demand"),
  explore: t("by chance, to learn"), new: t("new"), again: t("acted on before"), like: t("like a past item"),
  matches: t("has words of the query"), searched: t("like a past search"), due: t("due again"), popular: t("popular now"),
  own: t("acted on before"), week: t("in demand this week"), day: t("in demand today"), linear: t("bought by the same shoppers"),
};
const HOW = { like: t("like it"), together: t("seen together with it"), searched: t("like this search") };
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
  text(get("matches-said"), t("Matching. The first time takes some seconds: the model is loaded."));
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
    const answer = await fetch(spoken(path, asked));
    const found = await answer.json();
    return answer.ok ? found : { said: found.error, items: [], past: [], words: [], rows: [] };
  } catch {
    return { said: t("The dashboard does not answer."), items: [], past: [], words: [], rows: [] };
  }
}

function adapt() {
  text(get("ask-what"), WHAT[kind.value]);
  get("ask-value").required = kind.value !== "popular";
  get("ask-user-field").hidden = kind.value !== "search";
}

/** A reason in words; `of` is the title of the item that it names. */
function why({ why: what, parts = [], of }) {
  const quoted = listed(parts.map((part) => `“${part}”`));
  if (!parts.length) return listed(what.split("+").map((part) => WHY[part] ?? part));
  if (what === "matches") return t("matches {words}", { words: quoted });
  if (what === "like") return { text: t("like {item}", { item: of ?? parts[0] }), sub: of ? parts[0] : "" };
  if (what === "together") return { text: t("seen together with {item}", { item: of ?? parts[0] }), sub: of ? parts[0] : "" };
  if (what === "searched") return t("like the search {words}", { words: quoted });
  return `${WHY[what] ?? what} ${quoted}`;
}

function show({ said, exact, key, age_s: age, shelf_id: id, surface, model, arm: whose, items, past }) {
  text(get("found-said"), said);
  get("found-said").className = exact || exact === undefined ? "" : "fallback";
  text(get("found-about"), id
    ? `${t("Surface {surface}, model {model}, arm {arm}, made {ago} ({moment}), shelf {id}.", {
      surface: called(surface), model, arm: arm(whose), ago: ago(age), moment: moment(Date.now() - 1000 * age), id,
    })} ${t("Asked first: {key}", { key })}`
    : key ? t("Asked first: {key}", { key }) : "");
  get("found-shelf").hidden = !items.length;
  rows(get("shelf"), items.map((item) => [
    String(item.place), { text: item.item_id, head: true }, item.title ?? { text: t("not in the catalogue"), cls: "empty" },
    fixed(item.score, 3), percent(item.buy), percent(item.read), percent(item.look), why(item),
  ]));
  get("found-past").hidden = !past.length;
  rows(get("past"), past.map((one) => [
    { text: one.title ?? one.part, sub: one.title ? one.part : "", head: true }, HOW[one.why] ?? one.why,
    count(one.places.length), one.places.join(", "),
  ]));
  get("found-words").hidden = surface !== "search";
  showMatches({ said: "", words: [], rows: [] });
}

function showMatches({ said, words, rows: found }) {
  text(get("matches-said"), said);
  get("found-matches").hidden = !found.length;
  const heading = (name, cls) => h("th", { scope: "col", class: cls }, name);
  get("matches").tHead.rows[0].replaceChildren(heading(t("Place"), "n"), heading(t("Item")), ...words.map((word) => heading(`“${word}”`)));
  rows(get("matches"), found.map((row) => [
    String(row.place), { text: row.text, sub: row.item_id, head: true },
    ...row.cells.map((cell) => (cell
      ? { text: cell.word, sub: listed([fixed(cell.cosine, 2), ...(cell.named ? [t("named")] : [])]), cls: cell.named ? "named" : "", bar: Math.max(0, cell.cosine) }
      : { text: t("not read"), cls: "empty" })),
  ]));
}
