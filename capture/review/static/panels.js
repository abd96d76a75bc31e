// What the agent does now, and why; the budget; what it cost; where everything is.

import { $, el, put, say } from "./dom.js";
import { placeOf } from "./model.js";
import { bytes, clock, dayAndClock, lasting, list, many, share } from "./words.js";

const STATES = { recording: "Recording", waiting: "Waiting", suspended: "Not recording", paused: "Paused", off: "Not running" };
const WATTS = 5; // of a busy core: what a laptop's processor takes for one, roughly
const BATTERY_WH = 50; // a usual laptop's

export function showNow(now, model) {
  const agent = now.agent;
  const state = agent?.state ?? "off";
  $("pill").className = `pill ${state}`;
  say($("pill"), STATES[state] ?? state);
  say($("why"), agent ? reasons(agent.state_reasons) : "Nothing is recorded. You can look and delete all the same.");
  $("pausing").hidden = !agent;
  for (const id of ["pause", "pause-for"]) $(id).hidden = state === "paused";
  $("resume").hidden = state !== "paused";
  $("flush").disabled = !agent || !now.open_ms;
  where(now, model);
  budget(agent?.budget, agent?.link);
  plan(agent);
  cost(now);
}

function reasons(all = []) {
  const text = all.join("; ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function fact(name, value, more) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value, more ? el("span", { class: "more" }, more) : null));
}

function where(now, model) {
  const by = { held: [], waiting: [], sent: [], dropped: [], unknown: [] };
  for (const chunk of model.chunks) by[placeOf(chunk, Date.now())].push(chunk);
  const size = (chunks) => bytes(chunks.reduce((sum, one) => sum + one.bytes, 0));
  const pieces = (chunks) => `${many(chunks.length, "piece")}, ${size(chunks)}`;
  const next = Math.min(...by.held.map((one) => one.ready));
  put($("where"),
    fact("Being recorded now", now.open_ms ? `since ${clock(now.open_ms, false)}` : "nothing", now.open_ms ? "in memory only" : null),
    fact("Held back here", by.held.length ? pieces(by.held) : "nothing", by.held.length ? `the next may leave at ${dayAndClock(next)}` : null),
    fact("Waiting to be sent", by.waiting.length ? pieces(by.waiting) : "nothing", null),
    fact("Has left", by.sent.length ? pieces(by.sent) : "nothing", by.sent.length ? archived(by.sent) : null),
    by.dropped.length ? fact("Given up, never sent", pieces(by.dropped), "there was no room for it") : null,
    by.unknown.length ? fact("Not known where", pieces(by.unknown), "the spool cannot be read now") : null,
    model.damaged.length ? fact("Cannot be opened", many(model.damaged.length, "piece"), "damaged here; you can still delete it") : null);
  const { keep_s: keep, limit_bytes: limit } = now.kept;
  say($("kept"), keep && limit
    ? `You see copies of the last ${lasting(keep * 1000)}, at most ${bytes(limit)}. They lie on this machine, sealed for a key of yours.`
    : "Your configuration keeps no copies ([review] in config.toml), so there is nothing to look at here.");
}

function archived(sent) {
  const there = sent.filter((one) => one.state === "archived").length;
  return there === sent.length ? "all of it is in the archive" : there ? `${there} of them are in the archive for certain` : "the archive has not confirmed it yet";
}

function gauge(name, used, limit, forecast, words) {
  const full = limit ? Math.min(1, used / limit) : 0;
  const parts = [el("div", { class: `fill${full > 0.9 ? " high" : ""}`, style: { width: `${Math.max(full * 100, used ? 0.6 : 0)}%` } })];
  if (limit && forecast) parts.push(el("div", { class: "forecast", style: { left: `${Math.min(100, (forecast / limit) * 100)}%` } }));
  return el("div", { class: "gauge" },
    el("div", { class: "gauge-head" }, el("span", {}, name), el("span", { class: "figures" }, `${bytes(used)} of ${bytes(limit)}`)),
    el("div", { class: "track", role: "meter", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": limit ?? used, "aria-valuenow": Math.min(used, limit ?? used), "aria-valuetext": `${bytes(used)} of ${bytes(limit)}` }, ...parts),
    words ? el("p", { class: "note" }, words) : null);
}

function budget(of, link) {
  if (!of) return put($("budget"), el("p", { class: "note" }, "The budget is known while modicum runs: “modicum run”."));
  const over = of.month_limit && of.forecast_month > of.month_limit;
  const until = new Date(`${of.month_end}T00:00`).toLocaleDateString("en-GB", { day: "numeric", month: "long" });
  const forecast = of.forecast_month === null || of.forecast_month === undefined ? null
    : el("p", { class: "forecast-words", id: "forecast" }, el("span", { class: "mark", "aria-hidden": "true" }), `Forecast: ${bytes(of.forecast_month)} by ${until}`,
      over ? ". It never gets there: recording becomes sparser instead." : of.month_limit ? `, ${share(of.forecast_month / of.month_limit)} of what it may take.` : ".");
  put($("budget"),
    of.day_limit ? gauge("Today", of.day_used, of.day_limit, null, null) : null,
    gauge("This billing period", of.month_used, of.month_limit, of.forecast_month, null), forecast,
    el("p", { class: "note" }, `Everything on the wire is counted. Your network now: ${link || "unknown"}.`));
}

function plan(agent) {
  if (!agent) return put($("plan"), el("p", { class: "note" }, "modicum is not running, so nothing is being recorded. “modicum run” starts it."));
  const left = Object.entries(agent.refused ?? {});
  put($("plan"),
    el("p", { class: "plan-words" }, agent.plan.charAt(0).toUpperCase() + agent.plan.slice(1)),
    agent.plan_reasons.length ? el("ul", { class: "reasons", "aria-label": "Reasons" }, ...agent.plan_reasons.map((reason) => el("li", {}, reason))) : null,
    ...agent.warnings.map((warning) => el("p", { class: "warning" }, warning)),
    left.length ? el("p", { class: "note" }, `Left out: ${list(left.map(([why, count]) => `${count.toLocaleString("en-GB")} × ${why}`))}.`) : null);
}

function cost(now) {
  const of = now.cost ?? {};
  if (!now.agent) {
    put($("cost"), fact("Now", "nothing", "modicum is not running"));
    return say($("cost-note"), "");
  }
  const wh = (of.cpu_s / 3600) * WATTS;
  put($("cost"),
    fact("Processor", `${lasting(of.cpu_s * 1000)} in ${lasting(of.running_s * 1000)}`, `${share(of.cpu_s / Math.max(1, of.running_s))} of one core`),
    fact("Right now", `${share(of.cpu_ratio ?? 0)} of one core`, of.wakeups_s === null || of.wakeups_s === undefined ? null : `${of.wakeups_s.toFixed(1)} wake-ups a second`),
    fact("Memory", bytes(of.rss_bytes), null),
    fact("Power", of.on_battery === null || of.on_battery === undefined ? "not told by this machine" : of.on_battery ? `battery, ${share(of.battery_ratio ?? 0)} left` : "mains", null));
  say($("cost-note"), `About ${wh < 0.1 ? `${(wh * 1000).toPrecision(2)} mWh` : `${wh.toPrecision(2)} Wh`}, ${share(wh / BATTERY_WH)} of a usual battery (reckoned at ${WATTS} W for a busy core and ${BATTERY_WH} Wh).`);
}
