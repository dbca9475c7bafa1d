// The learning loop: its stage, its trigger, the gate's verdict, the canary's evidence, and the latest promotions.

import { get, h, rows, text } from "../dom.js";
import { ENOUGH, ago as past, arm as armed, count, fixed, listed, moment, number, percent, range, ratio, span } from "../format.js";
import { named, t } from "../language.js";

const STAGES = ["idle", "training", "gate", "shadow", "canary"];
const CHAMPION = "champion";
const VERDICTS = { passed: t("Passed"), refused: t("Refused"), too_few: t("Too few examples to tell") };

const steps = get("loop-steps");
steps.append(...STAGES.map((stage) => h("li", {}, named(stage))));

const facts = new Map(Object.entries({
  Trigger: t("Trigger"), Gate: t("Gate"), Champion: t("Champion"), Challenger: t("Challenger"), Clicks: t("Clicks"),
  Evidence: t("Evidence"), Ratio: t("Ratio"),
}).map(([name, heading]) => {
  const [value, sub] = [h("span", { class: "long" }), h("span", { class: "sub" })];
  const row = h("div", {}, h("dt", {}, heading), h("dd", {}, value, sub));
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
  const ago = (at) => past((now - at) / 1000);
  const at = STAGES.indexOf(loop.stage);
  [...steps.children].forEach((step, place) => {
    if (place === at) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
    step.classList.toggle("done", at > 0 && place > 0 && place < at);
  });
  text(get("loop-now"), sentence(loop));

  say("Trigger", loop.trigger_at === null ? "" : loop.trigger, loop.trigger_at === null ? "" : listed([named(loop.trigger_reason), ago(loop.trigger_at)].filter(Boolean)));
  say("Gate", loop.verdict ? VERDICTS[loop.verdict] ?? named(loop.verdict) : "", loop.verdict_sentence);
  say("Champion", loop.champion || t("The untrained weights"), loop.champion_at === null ? "" : t("champion for {time}", { time: span(Math.max(0, now - loop.champion_at) / 1000) }));
  const share = loop.share ? t("canary, {share} of the shoppers", { share: percent(loop.share) }) : t("shadow: it answers, and nobody sees it");
  say("Challenger", loop.challenger, loop.challenger ? share : "");

  const mine = page.arms.filter((row) => row.challenger && row.challenger === loop.challenger);
  const canary = mine.find((row) => row.arm !== CHAMPION);
  const clicks = ({ arm, ctr, impressions }) => t("{arm} {rate} ({range}) of {n}", { arm: armed(arm), rate: percent(ctr[0]), range: range(ctr[1], ctr[2]), n: count(impressions) });
  say("Clicks", canary ? clicks(canary) : "", canary ? mine.filter((row) => row !== canary).map(clicks).join(t("; ")) : "");
  const evidence = canary?.clicks_log10 ?? null;
  const reached = evidence !== null && evidence >= ENOUGH;
  const power = (value) => (value >= 6 ? `10^${value.toFixed(0)}` : number(10 ** value));
  say("Evidence", evidence === null ? "" : t(reached ? "{odds} to 1, enough" : "{odds} to 1, not enough", { odds: power(evidence) }), t("log₁₀ {log}; {enough}, 20 to 1, is enough", { log: fixed(evidence ?? 0, 2), enough: fixed(ENOUGH, 1) }));
  fill.style.width = `${Math.round(100 * Math.min(1, Math.max(0, (evidence ?? 0) / ENOUGH)))}%`;
  const { text: times, sub } = ratio(canary?.ratio);
  say("Ratio", canary?.ratio ? t("{n} times the champion's click rate", { n: times }) : "", sub ? t("{range}, 95% at all looks together", { range: sub }) : "");

  rows(get("loop-lately"), loop.lately.map((turn) => [
    { text: turn.what === "canary" ? t("canary, {share}", { share: percent(turn.share) }) : named(turn.what), head: true },
    { text: turn.version, cls: "long" },
    { text: moment(turn.at), sub: ago(turn.at) },
    { text: turn.reason, sub: turn.ended ? t("ended: {why}", { why: turn.ended }) : "", cls: "wordy" },
  ]), t("No version has been trained and promoted yet."));
}

/** What happens now. */
function sentence({ reports, stage, progress, decision, held_back: held, new_examples: examples, runs_today: runs }) {
  if (!reports) {
    const challenged = stage ? `${t("A challenger is in its stage {stage}.", { stage: named(stage) })} ` : "";
    return `${challenged}${t("No trainer reports, so nothing is learned: liveshelf trainer starts one.")}`;
  }
  if (stage === "training") return t("Training, {share} done.", { share: percent(Math.floor(100 * progress) / 100, 0) });
  if (stage === "gate") return t("The challenger is held against the champion on examples that neither has seen.");
  if (stage === "shadow" || stage === "canary") {
    const at = stage === "shadow" ? t("Shadow") : t("Canary");
    return decision ? t("{stage}: {decision}.", { stage: at, decision }) : t("{stage}.", { stage: at });
  }
  const fields = { examples: count(examples), runs: count(runs) };
  const known = runs === 1 ? t("{examples} new examples, {runs} run today.", fields) : t("{examples} new examples, {runs} runs today.", fields);
  return `${held ? t("Waits. {why}.", { why: held }) : t("Idle: nothing asks for training.")} ${known}`;
}
