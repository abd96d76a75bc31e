"use strict";
// Everything stands in this file: the recording as JSON, the screenshots as one MP4 in base64. Nothing is fetched.
const $ = (id) => document.getElementById(id);
const recording = JSON.parse($("recording").textContent);
const video = $("video"), overlay = $("overlay"), timeline = $("timeline");
const { pointer, keys, rows, frames, duration_ms: duration, width, height } = recording;
const actions = recording.actions;
const IDLE_MS = 3000; // a longer pause between two events is skipped
const TRAIL_MS = 700;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;

let now = 0, playing = false, last = 0, current = -1, shown = -1;

// -- searching -------------------------------------------------------------------------------------------------------
// The last index whose time is <= t, by halving; -1: none.
function before(count, timeOf, t) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(middle) <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}
const at = (list) => (index) => list[index];
const busy = [...pointer.t, ...keys.t, ...frames, ...rows.map((row) => row.t)].sort((a, b) => a - b);

function show(ms) {
  const tenths = Math.floor(ms / 100), seconds = Math.floor(tenths / 10);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}.${tenths % 10}`;
}

// -- drawing ---------------------------------------------------------------------------------------------------------
function fit(canvas) {
  const ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const w = Math.round(box.width * ratio), h = Math.round(box.height * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return [context, box.width, box.height];
}

function drawOverlay() {
  const [context, w, h] = fit(overlay);
  const sx = w / width, sy = h / height;
  const index = before(pointer.t.length, at(pointer.t), now);
  if (index < 0) return;
  context.lineWidth = 2.5; context.lineCap = "round";
  for (let i = index; i > 0 && now - pointer.t[i] < TRAIL_MS; i--) {
    context.strokeStyle = `rgba(56, 142, 255, ${(0.8 * (1 - (now - pointer.t[i]) / TRAIL_MS)).toFixed(3)})`;
    context.beginPath();
    context.moveTo(pointer.x[i - 1] * sx, pointer.y[i - 1] * sy);
    context.lineTo(pointer.x[i] * sx, pointer.y[i] * sy);
    context.stroke();
  }
  for (let i = index; i >= 0 && now - pointer.t[i] < TRAIL_MS; i--) {
    const kind = pointer.kind[i];
    if (kind < 2 || kind % 2) continue; // presses and wheel clicks
    const age = (now - pointer.t[i]) / TRAIL_MS;
    context.strokeStyle = `rgba(249, 115, 22, ${(1 - age).toFixed(3)})`;
    context.lineWidth = 3;
    context.beginPath();
    context.arc(pointer.x[i] * sx, pointer.y[i] * sy, reduced ? 14 : 6 + 18 * age, 0, 7);
    context.stroke();
  }
  const action = actions[current];
  if (action && action.box && now - action.t < 1200) {
    const [x, y, bw, bh] = action.box;
    context.strokeStyle = "rgba(139, 92, 246, .95)"; context.lineWidth = 2;
    context.strokeRect(x * sx, y * sy, bw * sx, bh * sy);
  }
  const x = pointer.x[index] * sx, y = pointer.y[index] * sy;
  context.beginPath(); // an arrow, as people know it
  for (const [dx, dy] of [[0, 0], [0, 17], [4, 13.5], [6.8, 19.5], [9.6, 18.2], [6.9, 12.4], [12, 12]]) context.lineTo(x + dx, y + dy);
  context.closePath();
  context.fillStyle = "#fff"; context.strokeStyle = "#111"; context.lineWidth = 1.2; context.lineJoin = "round";
  context.fill(); context.stroke();
}

const LANES = [["frame", "screenshots", () => frames], ["click", "clicks, wheel", () => pointer.t.filter((_, i) => pointer.kind[i] > 1 && pointer.kind[i] % 2 === 0)],
  ["key", "keys", () => keys.t.filter((_, i) => keys.down[i])], ["row", "context, choices", () => rows.map((row) => row.t)]];
const laneTimes = LANES.map(([, , times]) => times());

function drawTimeline() {
  const [context, w, h] = fit(timeline);
  const lane = h / LANES.length, scale = w / Math.max(1, duration);
  LANES.forEach(([name], number) => {
    context.fillStyle = colour(name); context.globalAlpha = 0.75;
    for (const t of laneTimes[number]) context.fillRect(t * scale, number * lane + 3, 1.5, lane - 6);
  });
  context.globalAlpha = 1; context.fillStyle = colour("ink");
  context.fillRect(Math.min(w - 2, now * scale), 0, 2, h);
}

function render() {
  const frame = before(frames.length, at(frames), now);
  $("no-picture").hidden = frame >= 0;
  video.style.visibility = frame >= 0 ? "visible" : "hidden";
  if (frame !== shown && frame >= 0 && video.readyState > 0) {
    shown = frame;
    video.currentTime = (frames[frame] - frames[0]) / 1000 + 0.0005; // inside the frame, not on its edge
  }
  const action = before(actions.length, (index) => actions[index].t, now);
  if (action !== current) {
    const buttons = $("actions").querySelectorAll("button");
    if (buttons[current]) buttons[current].removeAttribute("aria-current");
    current = action;
    if (buttons[current]) {
      buttons[current].setAttribute("aria-current", "true");
      const list = $("actions"), item = buttons[current].parentElement;
      list.scrollTop = item.offsetTop - list.offsetTop - list.clientHeight / 2;
    }
  }
  $("clock").textContent = `${show(now)} / ${show(duration)}`;
  timeline.setAttribute("aria-valuenow", Math.round(now));
  timeline.setAttribute("aria-valuetext", show(now));
  drawOverlay();
  drawTimeline();
}

// -- playing ---------------------------------------------------------------------------------------------------------
function seek(ms) { now = Math.max(0, Math.min(duration, ms)); render(); }

function step(time) {
  if (!playing) return;
  now += (time - last) * Number($("speed").value);
  last = time;
  if ($("skip").checked) {
    const next = busy[before(busy.length, at(busy), now) + 1];
    if (next !== undefined && next - now > IDLE_MS) now = next - 400;
  }
  if (now >= duration) { now = duration; play(false); }
  render();
  if (playing) requestAnimationFrame(step);
}

function play(on) {
  playing = on;
  if (on && now >= duration) now = 0;
  $("play").querySelector("path").setAttribute("d", on ? "M4 3h3v10H4zM9 3h3v10H9z" : "M4 2.5v11L13.5 8z");
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (on) { last = performance.now(); requestAnimationFrame(step); }
}

const jump = (by) => {
  const index = before(actions.length, (i) => actions[i].t, by < 0 ? now - 1 : now) + (by > 0 ? 1 : 0);
  if (actions[index]) seek(actions[index].t);
};

$("play").onclick = () => play(!playing);
$("back").onclick = () => jump(-1);
$("next").onclick = () => jump(1);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("select, input")) return;
  const does = { " ": () => play(!playing), ArrowLeft: () => jump(-1), ArrowRight: () => jump(1), Home: () => seek(0), End: () => seek(duration) }[event.key];
  if (does && !(event.key === " " && event.target.matches("button"))) { event.preventDefault(); does(); }
});
const drag = (event) => {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = timeline.getBoundingClientRect();
  seek(duration * (event.clientX - box.left) / box.width);
};
timeline.onpointerdown = (event) => { timeline.setPointerCapture(event.pointerId); drag(event); };
timeline.onpointermove = drag;
addEventListener("resize", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);

// -- building --------------------------------------------------------------------------------------------------------
$("when").textContent = recording.when;
$("terms").append(...Object.entries(recording.terms).map(([name, value]) => {
  const pair = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
  term.textContent = name; text.textContent = value;
  pair.append(term, text);
  return pair;
}));
$("legend").append(...LANES.map(([name, words]) => {
  const item = document.createElement("li"), mark = document.createElement("i");
  mark.className = name;
  item.append(mark, words);
  return item;
}));
$("count").textContent = actions.length ? `(${actions.length})` : "";
$("actions").append(...actions.map((action) => {
  const item = document.createElement("li"), button = document.createElement("button");
  const time = document.createElement("time"), words = document.createElement("span");
  button.type = "button";
  time.textContent = show(action.t); words.textContent = action.words;
  button.append(time, words);
  button.onclick = () => seek(action.t);
  item.append(button);
  return item;
}));
$("screen").style.aspectRatio = `${width} / ${height}`;
timeline.setAttribute("aria-valuemax", Math.round(duration));
const film = $("film").textContent.trim();
if (film) {
  const bytes = Uint8Array.from(atob(film), (character) => character.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  video.onloadeddata = () => { shown = -1; render(); document.documentElement.dataset.ready = "true"; };
} else {
  document.documentElement.dataset.ready = "true";
}
seek(frames.length ? Math.min(frames[0], duration) : 0);
