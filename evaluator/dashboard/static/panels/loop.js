// The learning loop: its stage, its trigger, the gate's verdict, the canary's evidence, and the latest promotions.

import { get, h, rows, text } from "../dom.js";
import { ENOUGH, count, moment, number, percent, range, ratio, span, words } from "../format.js";

const STAGES = ["idle", "training", "gate", "shadow", "canary"];
const CHAMPION = "champion";
const VERDICTS = { passed: "Passed", refused: "Refused", too_few: "Too few examples to tell" };

const steps = get("loop-steps");
steps.append(...STAGES.map((stage) => h("li", {}, stage)));

const facts = new Map(["Trigger", "Gate", "Champion", "Challenger", "Clicks", "Evidence", "Ratio"].map((name) => {
  const [value, sub] = [h("span", { class: "long" }), h("span", { class: "sub" })];
  const row = h("div", {}, h("dt", {}, name), h("dd", {}, value, sub));
  get("loop-facts").append(row);
  return [name, { row, value, sub }];
}));
const fill = h("span", { class: "bar-fill" });
facts.get("Evidence").sub.before(h("span", { class: "bar-track", "aria-hidden": "true" }, fill));

function say(name, value, sub = "") {
  const fact = facts.get(name);
  fact.row.hidden = !value;
  text(fact.value, value);
  text(fact.sub, sub);
}

export function show({ page }) {
  const { loop, now } = page;
  const ago = (at) => `${span(Math.max(0, now - at) / 1000)} ago`;
  const at = STAGES.indexOf(loop.stage);
  [...steps.children].forEach((step, place) => {
    if (place === at) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
    step.classList.toggle("done", at > 0 && place > 0 && place < at);
  });
  text(get("loop-now"), sentence(loop));

  say("Trigger", loop.trigger_at === null ? "" : loop.trigger, loop.trigger_at === null ? "" : [words(loop.trigger_reason), ago(loop.trigger_at)].filter(Boolean).join(", "));
  say("Gate", loop.verdict ? VERDICTS[loop.verdict] ?? words(loop.verdict) : "", loop.verdict_sentence);
  say("Champion", loop.champion || "The untrained weights", loop.champion_at === null ? "" : `champion for ${span(Math.max(0, now - loop.champion_at) / 1000)}`);
  const share = loop.share ? `canary, ${percent(loop.share)} of the shoppers` : "shadow: it answers, and nobody sees it";
  say("Challenger", loop.challenger, loop.challenger ? share : "");

  const mine = page.arms.filter((row) => row.challenger && row.challenger === loop.challenger);
  const canary = mine.find((row) => row.arm !== CHAMPION);
  const clicks = ({ arm, ctr, impressions }) => `${arm} ${percent(ctr[0])} (${range(ctr[1], ctr[2])}) of ${count(impressions)}`;
  say("Clicks", canary ? clicks(canary) : "", canary ? mine.filter((row) => row !== canary).map(clicks).join("; ") : "");
  const evidence = canary?.clicks_log10 ?? null;
  const reached = evidence !== null && evidence >= ENOUGH;
  const power = (value) => (value >= 6 ? `10^${value.toFixed(0)}` : number(10 ** value));
  say("Evidence", evidence === null ? "" : `${power(evidence)} to 1, ${reached ? "enough" : "not enough"}`, `log₁₀ ${(evidence ?? 0).toFixed(2)}; ${ENOUGH.toFixed(1)}, 20 to 1, is enough`);
  fill.style.width = `${Math.round(100 * Math.min(1, Math.max(0, (evidence ?? 0) / ENOUGH)))}%`;
  const { text: times, sub } = ratio(canary?.ratio);
  say("Ratio", canary?.ratio ? `${times} times the champion's click rate` : "", sub ? `${sub}, 95 % at all looks together` : "");

  rows(get("loop-lately"), loop.lately.map((turn) => [
    { text: turn.what === "canary" ? `canary, ${percent(turn.share)}` : turn.what, head: true },
    { text: turn.version, cls: "long" },
    { text: moment(turn.at), sub: ago(turn.at) },
    { text: turn.reason, sub: turn.ended ? `ended: ${turn.ended}` : "", cls: "wordy" },
  ]), "No version has been trained and promoted yet.");
}

/** What happens now. */
function sentence({ reports, stage, progress, decision, held_back: held, new_examples: examples, runs_today: runs }) {
  if (!reports) return `${stage ? `A challenger is in its ${stage}. ` : ""}No trainer reports, so nothing is learned: liveshelf trainer starts one.`;
  if (stage === "training") return `Training, ${Math.floor(100 * progress)} % done.`;
  if (stage === "gate") return "The challenger is held against the champion on examples that neither has seen.";
  if (stage === "shadow" || stage === "canary") return `${words(stage).replace(/^./, (letter) => letter.toUpperCase())}${decision ? `: ${decision}` : ""}.`;
  const known = `${count(examples)} new examples, ${count(runs)} ${runs === 1 ? "run" : "runs"} today.`;
  return held ? `Waits. ${held}. ${known}` : `Idle: nothing asks for training. ${known}`;
}
