// How states, times and sizes are said. A colour is never alone: each has a sign and a word.

export const COLUMNS = [
  ["needs_you", "Waiting for you"],
  ["running", "Running"],
  ["waiting", "Queued"],
  ["checking", "Checking"],
  ["done", "Done"],
];

const SIGNS = {
  error: ["✕", "bad"], failed: ["✕", "bad"], needs_you: ["!", "bad"],
  working: ["▶", "good"], running: ["▶", "good"], checking: ["◎", "look"],
  paused: ["‖", "look"], blocked: ["■", "look"], draining: ["▽", "look"],
  idle: ["○", "calm"], pending: ["○", "calm"], ready: ["○", "calm"], assigned: ["◔", "calm"], waiting: ["○", "calm"],
  starting: ["◌", "calm"], planning: ["◌", "calm"], completed: ["✓", "done"], done: ["✓", "done"],
  cancelled: ["–", "calm"], stopped: ["–", "calm"], cold: ["–", "calm"],
};

export const sign = (state) => (SIGNS[state] ?? ["·", "calm"])[0];
export const tone = (state) => (SIGNS[state] ?? ["·", "calm"])[1];
export const label = (state) => String(state ?? "").replaceAll("_", " ");
export const short = (id) => String(id ?? "").slice(0, 8);

// 4 s, 12 min, 3 h 5 min, 2 d
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

// Seconds since a time as records hold it; `lead` is how far the town's clock is ahead of this one, in ms.
export function since(stamp, lead = 0) {
  const at = Date.parse(stamp ?? "");
  return Number.isNaN(at) ? null : Math.max(0, (Date.now() + lead - at) / 1000);
}

// The time of day here; of another day with its date.
export function moment(stamp) {
  const at = new Date(stamp ?? NaN);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString([], { hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "";
  for (const [size, unit] of [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"]]) {
    if (count >= size) return `${(count / size).toFixed(count / size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${count} B`;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// A task's title without the mark of the missions' tasks, and that mark in words.
export const titled = (title) => String(title ?? "").replace(/^\[Mission [^\]]*\]\s*/, "");
export const marked = (title) => /^\[Mission ([^\]]*)\]/.exec(title ?? "")?.[1] ?? null;
