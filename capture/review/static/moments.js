// The list of moments, and the search in it.

import { $, el, put, say } from "./dom.js";
import { placeOf } from "./model.js";
import { PLACES } from "./timeline.js";
import { appName, clock, day, lasting, many, startOfDay } from "./words.js";

const PAGE = 60;

export class Moments {
  // Calls seek(ms) and filter(app).
  constructor({ seek, filter }) {
    this.call = { seek, filter };
    this.app = "";
    this.shown = PAGE;
    $("query").addEventListener("input", () => { this.shown = PAGE; this.draw(); });
    $("app").addEventListener("change", (event) => filter(event.target.value));
    $("search").addEventListener("submit", (event) => event.preventDefault());
    $("more").addEventListener("click", () => {
      this.shown += PAGE;
      this.draw();
      $("moments").children[this.shown - PAGE]?.querySelector("button")?.focus();
    });
  }

  show(model, colour) {
    this.model = model;
    this.colour = colour;
    for (const id of ["app", "delete-app"]) {
      const chosen = $(id).value;
      const first = id === "app" ? [el("option", { value: "" }, "All applications")] : [];
      put($(id), ...first, ...model.apps.map(({ app }) => el("option", { value: app }, appName(app))));
      if (model.apps.some(({ app }) => app === chosen)) $(id).value = chosen;
    }
    $("app").value = this.app;
    this.draw();
  }

  filter(app) {
    this.app = app;
    this.shown = PAGE;
    if ($("app").value !== app) $("app").value = app;
    this.draw();
  }

  draw() {
    if (!this.model) return;
    const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.model.moments.filter((one) => (!this.app || one.app === this.app) &&
      words.every((word) => one.words.includes(word))).reverse();
    const total = found.reduce((sum, one) => sum + one.end - one.start, 0);
    say($("count"), this.model.empty ? "Moments stand here, the latest first." : found.length ? `${many(found.length, "moment")}, ${lasting(total)}` : "Nothing fits. Try fewer words, or another application.");
    const now = Date.now();
    let last = null;
    const items = [];
    for (const one of found.slice(0, this.shown)) {
      const of = startOfDay(one.start);
      const place = placeOf(one.chunks.at(-1), now);
      items.push(el("li", { class: of === last || this.model.days.length < 2 ? null : "first" },
        of === last || this.model.days.length < 2 ? null : el("span", { class: "of-day" }, day(of)),
        el("button", { type: "button", class: "moment", "data-start": one.start, onclick: () => this.call.seek(one.start) },
          el("span", { class: "when" }, clock(one.start)),
          el("span", { class: "what" }, el("span", { class: `dot ${this.colour(one.app)}`, "aria-hidden": "true" }), el("b", {}, appName(one.app)), el("span", { class: "title" }, one.title || "(no title)")),
          el("span", { class: "long" }, lasting(one.end - one.start)),
          el("span", { class: `place ${place}`, title: PLACES[place] }, el("span", { class: "hidden" }, PLACES[place])))));
      last = of;
    }
    const top = $("moments").scrollTop;
    const focused = document.activeElement?.dataset?.start;
    $("moments").replaceChildren(...items);
    $("moments").scrollTop = top;
    if (focused) $("moments").querySelector(`[data-start="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    $("more").hidden = found.length <= this.shown;
    this.at(this.ms);
  }

  // Marks the moment that the player is at.
  at(ms) {
    this.ms = ms;
    for (const button of $("moments").querySelectorAll("button")) {
      const one = this.model.moments.find((moment) => moment.start === Number(button.dataset.start));
      const current = Boolean(one && one.start <= ms && ms < one.end);
      if (current !== (button.getAttribute("aria-current") === "true")) {
        if (current) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    }
  }
}
