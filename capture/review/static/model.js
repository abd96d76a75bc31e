// The timeline as the server tells it, and what can be asked of it. No drawing here.

import { appName, deed, startOfDay } from "./words.js";

export const STALE_MS = 300e3; // an older picture says nothing of a moment, though the screen may not have changed
const SOON_MS = 3000;
const NEAR_MS = 60e3; // spans of one window so close together are one moment

export class Model {
  constructor(chunks, now) {
    this.chunks = chunks;
    this.events = chunks.filter((one) => !one.damaged && !one.screens);
    this.screens = chunks.filter((one) => one.screens);
    this.damaged = chunks.filter((one) => one.damaged);
    this.spans = this.events
      .flatMap((one) => one.spans.map(([app, title, start, end]) => ({ app, title, start, end, chunk: one })))
      .sort((a, b) => a.start - b.start);
    this.missing = this.events.flatMap((one) => one.missing.map(([cause, start, end]) => ({ cause, start, end })));
    this.deeds = this.events.flatMap((one) => one.acts.map(([at, kind, fields]) => ({ at: at - (fields.ago ?? 0), text: deed(kind, fields) })))
      .filter((one) => one.text).sort((a, b) => a.at - b.at);
    this.days = [...new Set(chunks.flatMap((one) => [startOfDay(one.start), startOfDay(one.end)]))].sort((a, b) => b - a);
    this.now = now;
    const totals = new Map();
    for (const span of this.spans) totals.set(span.app, (totals.get(span.app) ?? 0) + span.end - span.start);
    this.apps = [...totals].sort((a, b) => b[1] - a[1]).map(([app, total]) => ({ app, total }));
    this.moments = joined(this.spans);
    for (const one of this.moments) {
      const deeds = this.deeds.filter((deed) => deed.at >= one.start && deed.at < one.end).map((deed) => deed.text);
      one.words = `${one.title} ${one.app} ${appName(one.app)} ${deeds.join(" ")}`.toLowerCase();
    }
  }

  get empty() { return this.chunks.length === 0; }
  get last() { return Math.max(0, ...this.chunks.map((one) => one.end)); }

  // The stretch of a day in which anything was recorded.
  extent(day) {
    const next = new Date(day).setDate(new Date(day).getDate() + 1);
    const within = this.chunks.filter((one) => one.end >= day && one.start < next);
    if (!within.length) return [day, next];
    const from = Math.max(day, Math.min(...within.map((one) => one.start)));
    const to = Math.min(next, Math.max(...within.map((one) => one.end)));
    const margin = Math.max(2000, (to - from) * 0.015);
    return [Math.max(day, from - margin), Math.min(next, to + margin)];
  }

  // Where to begin: at the latest moment of a day, when its first picture was taken.
  opening(day) {
    const [from, to] = this.extent(day);
    const moment = this.moments.findLast((one) => one.end > from && one.start < to);
    if (!moment) return from;
    const screen = this.screens.findLast((one) => one.start < moment.end && one.end >= moment.start);
    return Math.max(from, moment.start, Math.min(screen?.start ?? 0, moment.end - 1));
  }

  spanAt(ms) {
    return this.spans.findLast((span) => span.start <= ms && ms < span.end) ?? null;
  }

  missingAt(ms) {
    return this.missing.find((gap) => gap.start <= ms && ms < gap.end) ?? null;
  }

  // The screen chunk that shows a moment: the last that had begun by then.
  screenAt(ms) {
    return this.screens.findLast((one) => one.start <= ms) ?? null;
  }

  // What holds anything of a stretch. A picture shows until the next is taken: unless that is soon, the one before counts too.
  between(from, to) {
    const within = this.chunks.filter((one) => one.start < to && one.end > from);
    const before = this.screens.findLast((one) => one.end <= from && from - one.end < STALE_MS);
    const soon = this.screens.some((one) => one.end > from && one.start < Math.min(to, from + SOON_MS));
    return before && !soon ? [before, ...within] : within;
  }

  // Chunks that hold something of an application: its events, and the pictures taken while it was in front.
  ofApp(app) {
    const spans = this.spans.filter((span) => span.app === app);
    return this.chunks.filter((one) =>
      one.screens ? spans.some((span) => span.start < one.end && span.end > one.start) : one.spans?.some(([name]) => name === app));
  }
}

export function placeOf(chunk, now) {
  if (chunk.state === "here") return chunk.ready > now ? "held" : "waiting";
  return chunk.state === "archived" || chunk.state === "erasing" ? "sent" : chunk.state;
}

function joined(spans) {
  const found = [];
  for (const span of spans) {
    const last = found.at(-1);
    if (last && last.app === span.app && last.title === span.title && span.start - last.end < NEAR_MS) {
      last.end = Math.max(last.end, span.end);
      if (!last.chunks.includes(span.chunk)) last.chunks.push(span.chunk);
    } else {
      found.push({ app: span.app, title: span.title, start: span.start, end: span.end, chunks: [span.chunk] });
    }
  }
  return found;
}
