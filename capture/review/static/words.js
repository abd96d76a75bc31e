// Times, sizes and names as people write them.

const two = (number) => String(number).padStart(2, "0");
const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

export function clock(ms, seconds = true) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""}`;
}

export function startOfDay(ms) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

export function day(ms) {
  const now = Date.now();
  if (sameDay(ms, now)) return "Today";
  if (sameDay(ms, now - 86400e3)) return "Yesterday";
  return new Date(ms).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
}

export function dayAndClock(ms, seconds = false) {
  return `${sameDay(ms, Date.now()) ? "" : `${day(ms)}, `}${clock(ms, seconds)}`;
}

// "10:02 to 10:17", to the second where it is short.
export function stretch(from, to) {
  const short = to - from < 600e3;
  return `${dayAndClock(from, short)} to ${sameDay(from, to) ? clock(to, short) : dayAndClock(to, short)}`;
}

export function inField(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${clock(ms)}`;
}

export function lasting(ms) {
  const s = Math.round(ms / 1000);
  if (s < 1) return "under 1 s";
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 && s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.round(s / 60)} min`;
  const hours = Math.floor(s / 3600), minutes = Math.round((s % 3600) / 60);
  return hours >= 48 ? `${Math.round(hours / 24)} days` : minutes ? `${hours} h ${minutes} min` : `${hours} h`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "no limit";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (Math.abs(count) >= 999.5 && at < 4) { count /= 1000; at += 1; }
  return `${at === 0 || Math.abs(count) >= 99.5 ? Math.round(count) : Number(count.toPrecision(2))} ${units[at]}`;
}

export function many(count, one, more = `${one}s`) {
  return `${count.toLocaleString("en-GB")} ${count === 1 ? one : more}`;
}

export function share(ratio) {
  const percent = 100 * ratio;
  return `${percent >= 9.95 || percent === 0 ? Math.round(percent) : Number(percent.toPrecision(2))} %`;
}

export function appName(app) {
  if (!app) return "Unnamed window";
  const last = /^[a-z]+(\.[a-z0-9_-]+){2,}$/i.test(app) ? app.split(".").pop() : app;
  return last.charAt(0).toUpperCase() + last.slice(1).replaceAll("-", " ");
}

export const CAUSES = {
  pause: "paused by you", lock: "screen locked", scope: "another application in front", sleep: "machine asleep",
  plan: "the plan records nothing", "low-battery": "battery low", exempt: "exempted by you", withdrawn: "consent withdrawn",
  secret: "a secret was being typed", reload: "the configuration was being applied",
  overflow: "too fast to be read: some of it may be missing",
};

// What a row tells of something done, as a person would say it; null: nothing that a person did.
export function deed(kind, fields) {
  const named = (of) => (fields.name ? `“${fields.name}”` : `a ${of ?? "thing"}${fields.digest ? " whose name is not kept" : ""}`);
  const role = (fields.role ?? "").replaceAll("-", " ");
  switch (kind) {
    case "element": return `Pressed ${named(role)}${fields.name && role ? `, a ${role}` : ""}`;
    case "select":
      if (fields.checked !== undefined && fields.checked !== null) return `${fields.checked ? "Ticked" : "Unticked"} ${named(role)}`;
      return fields.committed === false ? `Looked at ${named(role)}, and left it` : `Chose ${named(role)}`;
    case "dialog": return fields.open ? `${named("dialog")} opened` : `${named("dialog")} closed`;
    case "site": return fields.host ? `At ${fields.host}` : null;
    case "shortcut": return `Pressed ${fields.name}`;
    case "clipboard": return fields.secret ? "Copied a secret, of which nothing is kept" : `Copied${fields.size ? ` ${bytes(fields.size)}` : ""}${fields.source ? ` from ${appName(fields.source)}` : ""}`;
    case "paste": return `Pasted${fields.target ? ` into ${appName(fields.target)}` : ""}`;
    case "pair": return null;
    default: {
      const words = Object.values(fields).filter((value) => typeof value === "string" && value && !/^[0-9a-f]{16,}$/.test(value));
      return [kind, ...words.slice(0, 3)].join(" ");
    }
  }
}

export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
