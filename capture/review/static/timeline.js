// The day as lanes, one for each application, with what was left out and where everything is.

import { $, el, svg } from "./dom.js";
import { placeOf } from "./model.js";
import { CAUSES, appName, clock, lasting } from "./words.js";

const LANE = 26, BAR = 14, AXIS = 22, COLOURS = 8;
const MAX_LANES = 8;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

export class Timeline {
  // Calls seek(ms), select(from, to) and filter(app).
  constructor({ seek, select, filter }) {
    this.call = { seek, select, filter };
    this.view = [0, 1];
    this.cursor = 0;
    this.selection = null;
    this.app = "";
    this.host = $("lanes");
    new ResizeObserver(() => this.draw()).observe(this.host);
  }

  show(model, view) {
    this.model = model;
    this.view = view;
    this.draw();
  }

  at(ms) {
    this.cursor = ms;
    this.placeCursor();
  }

  x(ms) { return ((ms - this.view[0]) / (this.view[1] - this.view[0])) * this.width; }
  ms(x) { return this.view[0] + (x / this.width) * (this.view[1] - this.view[0]); }

  colour(app) {
    const at = this.model.apps.findIndex((one) => one.app === app);
    return `c${at % COLOURS}`;
  }

  draw() {
    if (!this.model) return;
    const [from, to] = this.view;
    const within = this.model.spans.filter((span) => span.end > from && span.start < to);
    const names = this.model.apps.map((one) => one.app).filter((app) => within.some((span) => span.app === app)).slice(0, MAX_LANES);
    const totals = new Map(names.map((app) => [app, within.filter((span) => span.app === app)
      .reduce((sum, span) => sum + Math.min(to, span.end) - Math.max(from, span.start), 0)]));
    const labels = names.map((app) => el("button", {
      type: "button", class: `lane-label ${this.colour(app)}`, "aria-pressed": String(this.app === app),
      title: `Show only ${appName(app)}`, onclick: () => this.call.filter(this.app === app ? "" : app),
    }, el("span", { class: "name" }, appName(app)), el("span", { class: "total" }, lasting(totals.get(app)))));
    const rows = names.length + 2;
    const height = AXIS + rows * LANE;
    const column = el("div", { class: "labels" }, el("div", { class: "axis-gap" }), ...labels,
      el("div", { class: "lane-label plain" }, "Pictures"), el("div", { class: "lane-label plain" }, "Where it is"));
    const focused = document.activeElement?.closest?.(".labels") ? [...this.host.querySelectorAll(".labels button")].indexOf(document.activeElement) : -1;
    const area = el("div", { class: "area" });
    this.host.replaceChildren(column, area);
    if (focused >= 0) this.host.querySelectorAll(".labels button")[focused]?.focus();
    this.width = Math.max(50, area.clientWidth);
    this.height = height;
    const picture = svg("svg", { width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, "aria-hidden": "true", class: "day" });
    picture.append(...this.axis(height), ...this.gaps(height - AXIS));
    names.forEach((app, row) => picture.append(...this.lane(within.filter((span) => span.app === app), row, this.colour(app))));
    picture.append(...this.pictures(names.length), ...this.places(names.length + 1));
    this.selected = svg("rect", { class: "selection", y: AXIS, height: height - AXIS, width: 0 });
    this.line = svg("line", { class: "cursor", y1: AXIS - 6, y2: height });
    picture.append(this.selected, this.line);
    area.append(picture);
    this.listen(picture);
    this.placeCursor();
    this.placeSelection();
  }

  axis(height) {
    const span = (this.view[1] - this.view[0]) / 1000;
    const step = (STEPS_S.find((one) => (span / one) * 74 < this.width) ?? STEPS_S.at(-1)) * 1000;
    const offset = new Date(this.view[0]).getTimezoneOffset() * 60e3;
    const marks = [];
    for (let at = Math.ceil((this.view[0] - offset) / step) * step + offset; at < this.view[1]; at += step) {
      const x = this.x(at);
      marks.push(svg("line", { class: "grid", x1: x, x2: x, y1: AXIS - 4, y2: height }));
      if (x > 18 && x < this.width - 18) marks.push(svg("text", { class: "axis", x, y: 12, "text-anchor": "middle" }, clock(at, step < 60e3)));
    }
    return marks;
  }

  bar(from, to, row, kind, title) {
    const x = this.x(Math.max(from, this.view[0])), end = this.x(Math.min(to, this.view[1]));
    return svg("rect", { class: `bar ${kind}`, x, y: AXIS + row * LANE + (LANE - BAR) / 2, height: BAR, rx: 3, width: Math.max(1.5, end - x) },
      svg("title", {}, title));
  }

  lane(spans, row, colour) {
    const bars = [];
    let open = null; // what would lie within half a pixel is one bar
    for (const span of spans) {
      if (open && this.x(span.start) - this.x(open.end) < 0.5) open.end = Math.max(open.end, span.end);
      else bars.push((open = { ...span }));
    }
    return bars.map((span) => this.bar(span.start, span.end, row, colour, `${appName(span.app)}: ${span.title}, ${clock(span.start)}`));
  }

  gaps(height) {
    return this.model.missing.filter((gap) => gap.end > this.view[0] && gap.start < this.view[1] && this.x(gap.end) - this.x(gap.start) > 1)
      .map((gap) => svg("rect", {
        class: "gap", x: this.x(Math.max(gap.start, this.view[0])), y: AXIS, height,
        width: this.x(Math.min(gap.end, this.view[1])) - this.x(Math.max(gap.start, this.view[0])),
      }, svg("title", {}, `Not recorded: ${CAUSES[gap.cause] ?? gap.cause}, ${lasting(gap.end - gap.start)}`)));
  }

  pictures(row) {
    return this.model.screens.filter((one) => one.end > this.view[0] && one.start < this.view[1])
      .map((one) => this.bar(one.start, Math.max(one.end, one.start + 1000), row, "shots", `Pictures from ${clock(one.start)}`));
  }

  places(row) {
    const now = Date.now();
    return this.model.chunks.filter((one) => !one.screens && one.end > this.view[0] && one.start < this.view[1])
      .map((one) => this.bar(one.start, one.end, row, placeOf(one, now), PLACES[placeOf(one, now)]));
  }

  placeCursor() {
    if (!this.line) return;
    const x = this.x(this.cursor);
    this.line.setAttribute("x1", x);
    this.line.setAttribute("x2", x);
  }

  placeSelection() {
    if (!this.selected) return;
    const [from, to] = this.selection ?? [0, 0];
    const x = Math.max(0, this.x(from)), end = Math.min(this.width, this.x(to));
    this.selected.setAttribute("x", x);
    this.selected.setAttribute("width", this.selection && end > x ? end - x : 0);
  }

  mark(from, to) {
    this.selection = from < to ? [from, to] : null;
    this.placeSelection();
  }

  // A click seeks, a drag selects.
  listen(picture) {
    const where = (event) => Math.min(this.width, Math.max(0, event.clientX - picture.getBoundingClientRect().left));
    picture.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const start = where(event);
      picture.setPointerCapture(event.pointerId);
      const move = (moved) => {
        const x = where(moved);
        if (Math.abs(x - start) > 4) this.mark(this.ms(Math.min(start, x)), this.ms(Math.max(start, x)));
      };
      const up = (ended) => {
        picture.removeEventListener("pointermove", move);
        const x = where(ended);
        if (Math.abs(x - start) > 4) this.call.select(...this.selection);
        else this.call.seek(this.ms(x));
      };
      picture.addEventListener("pointermove", move);
      picture.addEventListener("pointerup", up, { once: true });
    });
  }
}

export const PLACES = {
  held: "Held back on this machine", waiting: "Waiting to be sent", sent: "Has left this machine",
  dropped: "Given up for lack of room, never sent", unknown: "Not known where",
};
