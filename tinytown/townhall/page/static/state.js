// What is known of the town: one full answer, then differences. No element is touched here.

import { short } from "/page/words.js";

export const CONDUCTOR = "00000000-0000-0000-0000-000000000001"; // whose mail is that of people
const PARTS = ["tasks", "agents", "missions", "vitals", "needs"];
const EVENTS_MOST = 200;
const ORDER = {
  needs_you: (a, b) => after(a.updated_at, b.updated_at),
  running: (a, b) => after(b.started_at ?? b.updated_at, a.started_at ?? a.updated_at),
  waiting: (a, b) => after(b.created_at, a.created_at),
  checking: (a, b) => after(b.updated_at, a.updated_at),
  done: (a, b) => after(a.updated_at, b.updated_at),
};

const after = (a, b) => (a < b ? 1 : a > b ? -1 : 0);

export class Town {
  constructor() {
    this.head = null;
    this.next = null;
    this.lead = 0; // ms that the town's clock is ahead of this one
    for (const part of PARTS) this[part] = new Map();
    this.events = []; // newest first
    this.order = []; // ids of needs
    this.columns = Object.fromEntries(Object.keys(ORDER).map((name) => [name, []]));
    this.filter = "";
    this.unsorted = false;
    this.known = new Set(); // ids of events
  }

  // Take an answer of /page/state in; returns the names of the parts that differ now.
  apply(answer) {
    const changed = new Set(["head"]);
    if (answer.full) {
      for (const part of PARTS) this[part].clear();
      for (const part of [...PARTS, "events"]) changed.add(part);
    }
    for (const part of PARTS) {
      const gone = answer.gone?.[part] ?? [];
      if (part !== "vitals" && (answer[part].length || gone.length)) changed.add(part);
      for (const id of gone) this[part].delete(id);
      if (part !== "vitals") for (const row of answer[part]) this[part].set(row.id, row);
    }
    if (answer.vitals.length) changed.add("vitals");
    this.#takeVitals(answer.vitals);
    if (answer.order.join() !== this.order.join()) changed.add("needs");
    this.order = answer.order;
    if (this.#takeEvents(answer.events)) changed.add("events");
    this.next = answer.next;
    this.head = answer;
    this.lead = Date.parse(answer.at) - Date.now();
    this.unsorted ||= changed.has("tasks"); // `sort` is for who draws: a task of the browser of its own
    return changed;
  }

  // Columns hold the tasks that the filter lets through, in their order.
  sort() {
    this.unsorted = false;
    const columns = Object.fromEntries(Object.keys(ORDER).map((name) => [name, []]));
    for (const task of this.tasks.values()) if (this.takes(task.title, task.agent, task.id)) (columns[task.column] ?? columns.waiting).push(task);
    for (const [name, rows] of Object.entries(columns)) rows.sort(ORDER[name]);
    this.columns = columns;
  }

  takes(...texts) {
    return !this.filter || texts.some((text) => text && text.toLowerCase().includes(this.filter));
  }

  item(missionId, itemId) {
    return this.missions.get(missionId)?.items.find((item) => item.id === itemId);
  }

  // What an agent is called; of one that is gone the beginning of its id.
  named(agentId) {
    if (!agentId) return "town";
    return agentId === CONDUCTOR ? "conductor" : this.agents.get(agentId)?.name ?? short(agentId);
  }

  // The share of a core that an agent uses comes of two looks.
  #takeVitals(rows) {
    const now = performance.now();
    for (const row of rows) {
      const old = this.vitals.get(row.id);
      const passed = old ? (now - old.seen) / 1000 : 0;
      const used = old && row.cpu_s !== null && old.cpu_s !== null ? row.cpu_s - old.cpu_s : null;
      const share = used === null || passed < 0.5 ? (old?.share ?? null) : Math.max(0, (100 * used) / passed);
      this.vitals.set(row.id, { ...row, share, seen: now });
    }
  }

  #takeEvents(rows) {
    const fresh = rows.filter((event) => !this.known.has(event.id));
    for (const event of fresh) this.known.add(event.id);
    this.events = [...fresh.reverse(), ...this.events];
    for (const event of this.events.splice(EVENTS_MOST)) this.known.delete(event.id);
    return fresh.length > 0;
  }
}
