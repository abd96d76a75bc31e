// Deleting: what is chosen, what that means, the question, and the answer.

import { post } from "./api.js";
import { $, el, put, say } from "./dom.js";
import { placeOf } from "./model.js";
import { appName, dayAndClock, inField, many, stretch } from "./words.js";

export class Deletion {
  // Calls done() after something was deleted, and mark(from, to) when the stretch changes.
  constructor({ done, mark }) {
    this.call = { done, mark };
    this.answers = [];
    const form = $("deletion");
    for (const name of ["input", "change"]) form.addEventListener(name, (event) => this.changed(event.target));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(this.chosen());
    });
  }

  show(model, now) {
    this.model = model;
    this.now = now;
    this.preview();
  }

  // Chooses a stretch, in whole seconds outwards.
  range(from, to, choose = true) {
    $("from").value = inField(Math.floor(from / 1000) * 1000);
    $("to").value = inField(Math.ceil(to / 1000) * 1000);
    if (choose) document.querySelector('[name="what"][value="range"]').checked = true;
    this.preview();
  }

  // Offers a moment, unless somebody has chosen a stretch already.
  offer(from, to) {
    if (!this.chosenByHand) this.range(from, to, false);
  }

  changed(target) {
    if (target.id === "from" || target.id === "to") this.chosenByHand = true;
    const of = { from: "range", to: "range", "delete-app": "app" }[target.id];
    if (of) document.querySelector(`[name="what"][value="${of}"]`).checked = true;
    const [from, to] = this.stretch();
    if (target.id === "from" || target.id === "to") this.call.mark(from, to);
    this.preview();
  }

  stretch() {
    return [new Date($("from").value).getTime(), new Date($("to").value).getTime()];
  }

  // The chunks that go, a name for them, and whether what is open goes too.
  chosen() {
    const what = new FormData($("deletion")).get("what");
    const open = this.now?.open_ms;
    if (what === "app") {
      const app = $("delete-app").value;
      return { chunks: app ? this.model.ofApp(app) : [], name: `everything of ${appName(app)}`, open: Boolean(app && open), app: true };
    }
    if (what === "all") return { chunks: this.model.chunks, name: "everything that this page shows", open: Boolean(open) };
    return this.around(...this.stretch());
  }

  around(from, to) {
    if (!(from < to)) return { chunks: [], name: "", open: false };
    const open = this.now?.open_ms;
    return { chunks: this.model.between(from, to), name: stretch(from, to), open: Boolean(open && to > open) };
  }

  meaning({ chunks, open, app }) {
    if (!chunks.length && !open) return "Nothing of it is here.";
    const now = Date.now();
    const sent = chunks.filter((one) => placeOf(one, now) === "sent");
    const here = chunks.length - sent.length;
    const parts = [];
    if (chunks.length) {
      const from = Math.min(...chunks.map((one) => one.start)), to = Math.max(...chunks.map((one) => one.end));
      parts.push(`Recordings are deleted in whole pieces: this is ${many(chunks.length, "piece")}, ${stretch(from, to)}.`);
    }
    if (here) parts.push(`${here === 1 ? "One has" : `${here} have`} not left this machine, and ${here === 1 ? "is" : "are"} gone at once.`);
    if (sent.length) parts.push(`${sent.length === 1 ? "One has" : `${sent.length} have`} left: your copy is deleted, and the archive is told, with your device's signature, to erase ${sent.length === 1 ? "it" : "them"}.`);
    if (app) parts.push("Pictures in which it only stood behind another window stay.");
    if (open) parts.push("What is being recorded at this moment is thrown away too.");
    return parts.join(" ");
  }

  preview() {
    if (!this.model) return;
    const chosen = this.chosen();
    say($("preview"), this.meaning(chosen));
    $("delete").disabled = !chosen.chunks.length && !chosen.open;
  }

  ask(chosen) {
    if (!chosen.chunks.length && !chosen.open) return;
    say($("confirm-title"), `Delete ${chosen.name}?`);
    say($("confirm-text"), `${this.meaning(chosen)} This cannot be undone.`);
    const dialog = $("confirm");
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") this.run(chosen); }, { once: true });
    dialog.showModal();
  }

  async run({ chunks, name, open }) {
    try {
      const told = await post("/api/delete", { ids: chunks.map((one) => one.id), open });
      const parts = [];
      if (told.here) parts.push(`${many(told.here, "piece")} gone from this machine before leaving it`);
      if (told.ordered) parts.push(`${many(told.ordered, "piece")} had left: your copies are gone, and the order to erase ${told.ordered === 1 ? "it" : "them"} is ${told.now ? "on its way to the archive" : "sent when modicum next runs"}`);
      if (told.already) parts.push(`${many(told.already, "piece")} had been ordered to be erased before`);
      if (open) parts.push("what was being recorded is thrown away");
      this.told(`Deleted ${name}: ${parts.join("; ") || "your copies are gone"}.`);
    } catch (error) {
      this.told(`Not deleted: ${error.message}`, true);
    }
    await this.call.done();
  }

  told(text, failed = false) {
    this.answers.unshift({ at: Date.now(), text, failed });
    this.draw();
  }

  // erasures: the orders to the archive, as the agent lists them.
  draw(erasures = this.erasures ?? []) {
    this.erasures = erasures;
    const orders = erasures.map((order) => ({ at: (order.answered_wall_s || order.ordered_wall_s) * 1000, ...answered(order) }));
    const lines = [...this.answers, ...orders].sort((a, b) => b.at - a.at).slice(0, 30);
    const items = lines.map(({ at, text, failed, done }) => el("li", { class: failed ? "failed" : done ? "done" : null },
      el("span", { class: "when" }, dayAndClock(at)), el("span", {}, text)));
    if (!items.length) items.push(el("li", { class: "none" }, "What you delete, and what the archive answers, stands here."));
    put($("answers"), ...items);
  }
}

function answered({ number, chunks, ordered_wall_s: ordered, answer }) {
  const what = chunks === null ? "everything" : many(chunks, "piece");
  const order = `Order ${number} to the archive, to erase ${what}, signed ${dayAndClock(ordered * 1000)}`;
  if (answer === "erased") return { text: `${order}: the archive has erased ${chunks === 1 ? "it" : chunks === null ? "it" : "them"}.`, done: true };
  if (answer) return { text: `${order}: the archive refuses: ${answer}.`, failed: true };
  return { text: `${order}: not answered yet.` };
}
