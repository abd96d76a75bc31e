// Puts the page together: asks the server, and hands what it tells to the parts.

import { get, post, whenGone } from "./api.js";
import { Deletion } from "./deletion.js";
import { $, el, put, say } from "./dom.js";
import { Model } from "./model.js";
import { Moments } from "./moments.js";
import { showNow } from "./panels.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { clock, day } from "./words.js";

const ASK_MS = 4000;
const state = { model: new Model([], null), now: null, version: null, day: null, view: [0, 1], ended: false };

const seek = (ms) => { player.toggle(false); player.seek(ms); };
const filter = (app) => { timeline.app = app; moments.filter(app); timeline.draw(); };
const player = new Player({ moved });
const timeline = new Timeline({ seek, select: (from, to) => { deletion.chosenByHand = true; deletion.range(from, to); }, filter });
const moments = new Moments({ seek: (ms) => { toDayOf(ms); seek(ms); offer(ms); }, filter });
const deletion = new Deletion({ done: refresh, mark: (from, to) => timeline.mark(from, to) });

function moved(ms) {
  const scrub = $("scrub");
  scrub.value = ms;
  scrub.setAttribute("aria-valuetext", `${day(ms)}, ${clock(ms)}`);
  timeline.at(ms);
  moments.at(ms);
}

function offer(ms) {
  const moment = state.model.moments.findLast((one) => one.start <= ms && ms < one.end);
  if (moment) deletion.offer(moment.start, moment.end);
}

// -- the stretch of time that is shown

function look(view) {
  state.view = view;
  const scrub = $("scrub");
  [scrub.min, scrub.max] = view.map(Math.round);
  scrub.step = view[1] - view[0] > 600e3 ? 1000 : 100;
  scrub.value = player.ms;
  timeline.show(state.model, view);
}

function toDay(of) {
  state.day = of;
  look(state.model.extent(of));
  drawDays();
}

function toDayOf(ms) {
  const of = new Date(ms).setHours(0, 0, 0, 0);
  if (of !== state.day) toDay(of);
  else if (ms < state.view[0] || ms > state.view[1]) look(state.model.extent(of));
}

function zoom(factor) {
  const [from, to] = state.view;
  const middle = player.ms > from && player.ms < to ? player.ms : (from + to) / 2;
  const half = Math.max(5000, ((to - from) / 2) * factor);
  const [low, high] = state.model.extent(state.day);
  const start = Math.max(low, middle - half), end = Math.min(high, middle + half);
  look(end - start < (high - low) * 0.98 ? [start, end] : [low, high]);
}

function drawDays() {
  put($("days"), ...state.model.days.map((of) =>
    el("button", { type: "button", class: "quiet", "aria-current": of === state.day ? "date" : null, "data-day": of }, day(of))));
  for (const button of $("days").children) button.onclick = () => { toDay(Number(button.dataset.day)); seek(state.model.opening(state.day)); };
}

// -- what the server tells

async function refresh() {
  const told = await get("/api/timeline");
  const first = state.model.empty;
  state.model = new Model(told.chunks, state.now);
  const { model } = state;
  document.body.classList.toggle("empty", model.empty);
  timeline.model = model;
  moments.show(model, (app) => timeline.colour(app));
  const whole = state.view[1] - state.view[0] >= (state.wholeMs ?? 0) * 0.98;
  if (!model.days.includes(state.day)) state.day = model.days[0] ?? new Date().setHours(0, 0, 0, 0);
  const extent = model.extent(state.day);
  state.wholeMs = extent[1] - extent[0];
  look(whole || state.view[0] === 0 ? extent : state.view);
  drawDays();
  if (first && !model.empty) {
    player.ms = model.opening(state.day);
    moved(player.ms);
    offer(player.ms);
  }
  player.show(model).then(() => document.body.classList.add("ready"));
  deletion.show(model, state.now);
  if (state.now) showNow(state.now, model);
  if (model.empty) welcome();
  state.version = told.version;
}

function welcome() {
  const agent = state.now?.agent;
  const kept = state.now?.kept;
  const words = kept && !(kept.keep_s && kept.limit_bytes)
    ? ["No copies are kept.", "Your configuration says so ([review] in config.toml). What is recorded is sealed for the archive, and cannot be opened here."]
    : !agent ? ["Nothing has been recorded lately.", "modicum is not running. “modicum run” starts it, once you have agreed to its notice."]
      : state.now.open_ms ? ["The first piece is still being recorded.", "It shows here when it is complete, or at once with “Show what is being recorded now”."]
        : ["Nothing has been recorded lately.", "When an application that you have allowed is in front, what is recorded of it shows here."];
  $("picture").hidden = true;
  $("blank").hidden = false;
  put($("blank"), el("p", { class: "big" }, words[0]), el("p", {}, words[1]));
}

async function ask() {
  if (state.ended) return;
  try {
    state.now = await get("/api/now");
    deletion.draw(state.now.erasures);
    if (state.now.version !== state.version) await refresh();
    else showNow(state.now, state.model);
    deletion.show(state.model, state.now);
    document.body.classList.toggle("open", Boolean(state.now.open_ms));
    if (state.model.empty) welcome();
    banner("");
  } catch (error) {
    banner(error.message);
    console.error(error);
  }
}

function banner(text) {
  $("banner").hidden = !text;
  say($("banner"), text);
}

async function doing(work) {
  try {
    await work();
    await ask();
  } catch (error) {
    banner(error.message);
  }
}

whenGone(() => { state.ended = true; });

// -- what the person does

$("scrub").addEventListener("input", (event) => seek(Number(event.target.value)));
$("zoom-in").addEventListener("click", () => zoom(0.4));
$("zoom-out").addEventListener("click", () => zoom(2.5));
$("zoom-all").addEventListener("click", () => look(state.model.extent(state.day)));
$("delete-here").addEventListener("click", () => deletion.ask(deletion.around(player.ms, player.ms + 1000)));
$("pausing").addEventListener("submit", (event) => {
  event.preventDefault();
  doing(async () => {
    await post("/api/pause", { seconds: Number($("pause-for").value) || null });
    await ask();
    $("resume").focus();
  });
});
$("resume").addEventListener("click", () => doing(async () => { await post("/api/resume"); await ask(); $("pause").focus(); }));
$("flush").addEventListener("click", () => doing(() => post("/api/flush")));
$("close").addEventListener("click", async () => {
  state.ended = true;
  await post("/api/close").catch(() => {});
  document.body.replaceChildren(el("main", { class: "closed" }, el("h1", {}, "This page has ended."), el("p", {}, "You can close the tab. “modicum review” opens it again.")));
});

await ask();
setInterval(ask, ASK_MS);
