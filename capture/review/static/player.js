// Plays what was recorded: the pictures, and the pointer, clicks and keys of the same moment drawn on them.

import { get } from "./api.js";
import { $, el, put, say, svg } from "./dom.js";
import { STALE_MS } from "./model.js";
import { CAUSES, appName, clock, lasting, many } from "./words.js";

const TRAIL_MS = 1600, CLICK_MS = 900, SETTLE_MS = 140, STRIP_MS = 12e3, JUMP_AFTER_MS = 2500;
const DEEDS_MS = [8000, 6000]; // before and after
const KEPT_EVENTS = 8; // chunks whose events are in memory
const KEY_CLASSES = ["other", "letter", "digit", "punctuation", "space", "edit", "navigation", "modifier", "function"];
const BUTTONS = { 2: "left", 4: "middle", 6: "right", 8: "wheel", 10: "wheel", 12: "wheel", 14: "wheel" };

export class Player {
  // Calls moved(ms) when the moment changes.
  constructor({ moved }) {
    this.call = { moved };
    this.ms = 0;
    this.playing = false;
    this.films = new Map();
    this.events = new Map();
    this.shown = "";
    $("play").addEventListener("click", () => this.toggle());
    $("back").addEventListener("click", () => this.step(-1));
    $("forth").addEventListener("click", () => this.step(1));
  }

  show(model) {
    this.model = model;
    const ids = new Set(model.chunks.map((one) => one.id));
    for (const kept of [this.films, this.events]) for (const id of [...kept.keys()]) if (!ids.has(id)) kept.delete(id);
    return this.draw();
  }

  seek(ms) {
    this.ms = ms;
    this.call.moved(ms);
    return this.draw();
  }

  // -- playing

  toggle(playing = !this.playing) {
    this.playing = playing;
    $("play").setAttribute("aria-label", playing ? "Stop playing" : "Play");
    $("play").querySelector("path").setAttribute("d", playing ? "M5 4h4v12H5zM11 4h4v12h-4z" : "M6 3.5v13l11-6.5z");
    if (playing) {
      this.before = performance.now();
      requestAnimationFrame((now) => this.tick(now));
    }
  }

  tick(now) {
    if (!this.playing) return;
    let next = this.ms + (now - this.before) * Number($("speed").value);
    this.before = now;
    if ($("skip").checked) {
      const coming = this.nextActivity(this.ms);
      if (coming === null && this.activityKnown(next)) return this.toggle(false);
      if (coming !== null && coming - next > JUMP_AFTER_MS) next = coming - 400;
    }
    if (next >= this.model.last) {
      this.toggle(false);
      next = this.model.last;
    }
    this.seek(next);
    requestAnimationFrame((then) => this.tick(then));
  }

  activityKnown(ms) {
    return !this.model.chunks.some((one) => one.end > ms && !(one.screens ? this.films.get(one.id)?.shots : this.events.get(one.id)?.pointer));
  }

  // The next thing that happened; where a chunk is not loaded yet, its beginning.
  nextActivity(ms) {
    let found = Infinity;
    for (const one of this.model.chunks) {
      if (one.end <= ms || one.start >= found || one.damaged) continue;
      const times = one.screens ? this.films.get(one.id)?.shots?.map((shot) => shot[0]) : this.events.get(one.id)?.times;
      const next = times ? first(times, ms) : Math.max(one.start, ms + 1);
      if (next !== null && next < found) found = next;
    }
    return found === Infinity ? null : found;
  }

  // To the picture or click before or after this one.
  async step(way) {
    this.toggle(false);
    await this.draw();
    const times = [];
    for (const film of this.films.values()) times.push(...(film.shots ?? []).map((shot) => shot[0]));
    for (const one of this.events.values()) times.push(...(one.presses ?? []));
    times.push(...this.model.screens.map((one) => one.start), ...this.model.spans.map((span) => span.start));
    const target = way > 0 ? Math.min(...times.filter((ms) => ms > this.ms + 1)) : Math.max(...times.filter((ms) => ms < this.ms - 1));
    if (Number.isFinite(target)) await this.seek(target);
  }

  // -- what is loaded

  film(chunk) {
    let film = this.films.get(chunk.id);
    if (!film) {
      film = { shots: null, error: "" };
      film.loading = get(`/api/shots/${chunk.id}`).then((told) => { film.shots = told.shots; }, (error) => { film.error = error.message; });
      this.films.set(chunk.id, film);
    }
    return film;
  }

  eventsOf(chunk) {
    let one = this.events.get(chunk.id);
    if (!one) {
      one = {};
      one.loading = get(`/api/events/${chunk.id}`).then((told) => {
        const at = (t) => t.map((ms) => ms + told.start_ms);
        one.keys = { ...told.keys, t: at(told.keys.t) };
        one.pointer = { ...told.pointer, t: at(told.pointer.t) };
        one.presses = one.pointer.t.filter((_, n) => one.pointer.kind[n] in BUTTONS);
        one.times = [...one.pointer.t, ...one.keys.t].sort((a, b) => a - b);
        one.display = told.displays.at(-1) ?? null;
      }, (error) => { one.error = error.message; });
      this.events.set(chunk.id, one);
      for (const id of this.events.keys()) if (this.events.size > KEPT_EVENTS) this.events.delete(id);
    }
    return one;
  }

  // -- drawing

  async draw() {
    if (!this.model) return;
    const ms = this.ms;
    say($("clock"), this.model.empty ? "–" : clock(ms));
    const screen = this.model.screenAt(ms);
    const near = this.model.events.filter((one) => one.start <= ms + STRIP_MS && one.end >= ms - STRIP_MS);
    const wanted = [...(screen ? [this.film(screen)] : []), ...near.map((one) => this.eventsOf(one))];
    this.paint(screen, near);
    if (wanted.some((one) => one.loading)) {
      await Promise.all(wanted.map((one) => one.loading?.finally(() => { one.loading = null; })));
      if (ms === this.ms || this.playing) this.paint(screen, near);
    }
  }

  paint(screen, near) {
    const ms = this.ms;
    const film = screen && this.films.get(screen.id);
    const number = film?.shots ? film.shots.findLastIndex((shot) => shot[0] <= ms) : -1;
    const at = number >= 0 && ms - film.shots[number][0] < STALE_MS ? number : -1;
    const events = near.map((one) => this.events.get(one.id)).filter((one) => one?.pointer);
    const gap = this.model.missingAt(ms);
    if (at >= 0) this.picture(screen.id, at, film.shots[at], ms);
    else this.blank(this.model.empty ? "" : film?.error || (film?.loading ? "Opening the pictures …" : "No picture of this moment."), events);
    this.overlay(events, ms, at >= 0 ? film.shots[at] : events.at(-1)?.display);
    this.strip(events, ms);
    this.deeds(ms);
    this.caption(gap, at >= 0 ? film.shots[at][0] : null, events, ms);
  }

  picture(id, number, [taken, width, height], ms) {
    const image = $("picture"), key = `${id}/${number}`;
    $("blank").hidden = true;
    image.hidden = false;
    $("screen").style.setProperty("--ratio", String(width / height));
    const span = this.model.spanAt(ms);
    image.alt = `Screenshot of ${clock(taken)}${span ? `, ${appName(span.app)}, ${span.title}` : ""}`;
    if (this.shown === key) return;
    this.shown = key;
    image.src = `/thumb/${key}.png`;
    image.dataset.frame = key;
    image.dataset.whole = "no";
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      const whole = new Image();
      whole.onload = () => {
        if (this.shown !== key) return;
        image.src = whole.src;
        image.dataset.whole = "yes";
      };
      whole.src = `/picture/${key}.png`;
    }, this.playing ? 0 : SETTLE_MS);
  }

  blank(text) {
    clearTimeout(this.settling);
    this.shown = "";
    $("picture").hidden = true;
    $("picture").removeAttribute("src");
    $("blank").hidden = false;
    put($("blank"), el("p", {}, text));
  }

  overlay(all, ms, size) {
    const overlay = $("overlay");
    const [, width, height] = size ?? [0, 1920, 1080];
    overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const unit = width / 1000, marks = [];
    const trail = [];
    for (const { pointer } of all) {
      for (let n = last(pointer.t, ms); n >= 0 && pointer.t[n] > ms - TRAIL_MS; n -= 1) trail.push(n === -1 ? null : [pointer.t[n], pointer.x[n], pointer.y[n], pointer.kind[n]]);
    }
    trail.sort((a, b) => a[0] - b[0]);
    for (let part = 0; part < 4; part += 1) {
      const from = ms - TRAIL_MS * (1 - part / 4), to = ms - TRAIL_MS * (1 - (part + 1) / 4);
      const points = trail.filter(([t]) => t >= from - 60 && t <= to);
      if (points.length > 1) marks.push(...line(points.map(([, x, y]) => `${x},${y}`).join(" "), unit, 0.25 + part * 0.25));
    }
    for (const [t, x, y, kind] of trail) {
      if (!(kind in BUTTONS) || t < ms - CLICK_MS) continue;
      const age = (ms - t) / CLICK_MS;
      if (BUTTONS[kind] === "wheel") marks.push(svg("text", { class: "wheel", x: x + 12 * unit, y: y - 8 * unit, "font-size": 18 * unit }, { 8: "↑", 10: "↓", 12: "←", 14: "→" }[kind]));
      else marks.push(svg("circle", { class: `click ${BUTTONS[kind]}`, cx: x, cy: y, r: (8 + 14 * age) * unit, "stroke-width": 3 * unit, opacity: 1 - age * 0.8 }));
    }
    const here = position(all, ms);
    if (here) marks.push(svg("circle", { class: "pointer", cx: here[0], cy: here[1], r: 5 * unit, "stroke-width": 1.6 * unit }));
    overlay.replaceChildren(...marks);
    overlay.dataset.marks = marks.length;
  }

  strip(all, ms) {
    const marks = [];
    const x = (t) => `${50 + ((t - ms) / STRIP_MS) * 50}%`;
    for (const { keys, pointer } of all) {
      for (let n = first(keys.t, ms - STRIP_MS, true) ?? keys.t.length; n < keys.t.length && keys.t[n] < ms + STRIP_MS; n += 1) {
        if (keys.down[n]) marks.push(el("i", { class: `key-tick ${KEY_CLASSES[keys.code[n]] ?? "other"}`, style: { left: x(keys.t[n]) } }));
      }
      for (let n = first(pointer.t, ms - STRIP_MS, true) ?? pointer.t.length; n < pointer.t.length && pointer.t[n] < ms + STRIP_MS; n += 1) {
        const button = BUTTONS[pointer.kind[n]];
        if (button && button !== "wheel") marks.push(el("i", { class: "click-tick", style: { left: x(pointer.t[n]) } }));
      }
    }
    $("strip").replaceChildren(el("i", { class: "middle" }), ...marks);
    $("strip").dataset.ticks = marks.length;
  }

  // What was done shortly before and after, as far as the applications told.
  deeds(ms) {
    const near = this.model.deeds.filter((one) => one.at > ms - DEEDS_MS[0] && one.at < ms + DEEDS_MS[1]).slice(-6);
    const done = near.findLast((one) => one.at <= ms);
    put($("deeds"), near.length ? null : el("li", {}, "Nothing was chosen, copied or opened around here."), ...near.map((one) => el("li", { "aria-current": one === done ? "true" : null }, el("span", { class: "when" }, clock(one.at)), one.text)));
    $("deeds").hidden = this.model.deeds.length === 0;
  }

  caption(gap, taken, all, ms) {
    const span = this.model.spanAt(ms);
    say($("cap-app"), span ? appName(span.app) : gap ? "Not recorded" : this.model.empty ? "" : "Nothing in front");
    say($("cap-title"), span ? span.title : gap ? `${CAUSES[gap.cause] ?? gap.cause}, for ${lasting(gap.end - gap.start)}` : "");
    const facts = [];
    let keys = 0, clicks = 0;
    for (const one of all) {
      for (let n = first(one.keys.t, ms - STRIP_MS / 2, true) ?? one.keys.t.length; n < one.keys.t.length && one.keys.t[n] < ms + STRIP_MS / 2; n += 1) keys += one.keys.down[n] ? 1 : 0;
      clicks += one.presses.filter((t) => Math.abs(t - ms) < STRIP_MS / 2).length;
    }
    if (!this.model.empty) facts.push(`${many(clicks, "click")} and ${many(keys, "key")} around here`);
    if (taken !== null && ms - taken > 3000) facts.push(`picture of ${clock(taken)}`);
    say($("cap-facts"), facts.join(" · "));
  }
}

function line(points, unit, opacity) {
  const shape = { points, fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round", opacity };
  return [svg("polyline", { ...shape, class: "path under", "stroke-width": 4.5 * unit }), svg("polyline", { ...shape, class: "path", "stroke-width": 2.2 * unit })];
}

function position(all, ms) {
  let found = null, at = -Infinity;
  for (const { pointer } of all) {
    const n = last(pointer.t, ms);
    if (n >= 0 && pointer.t[n] > at) [found, at] = [[pointer.x[n], pointer.y[n]], pointer.t[n]];
  }
  return found;
}

// Index of the last time <= ms, -1: none.
function last(times, ms) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// The first time > ms (or its index), null: none.
function first(times, ms, index = false) {
  const at = last(times, ms) + 1;
  return at >= times.length ? null : index ? at : times[at];
}
