// The agents, worst first: what each does, for how long, what it said last, what it costs. Only the rows that are
// near the view are drawn.

import { attribute, byId, h, reconcile, say } from "/page/dom.js";
import { bytes, label, sign, since, span, titled, tone } from "/page/words.js";

const RANK = ["error", "paused", "draining", "working", "starting", "idle", "cold", "stopped"];
const HEADS = [
  ["name", "Agent"], ["state", "State"], ["task", "Task"], ["run", "Run"], ["output", "Last output"],
  ["restarts", "Restarts"], ["cpu", "CPU"], ["memory", "Memory"],
];
const MARGIN = 6; // rows above and below the view
const VIEW = 900; // px, the most that is shown: as in page.css
const rank = (row) => RANK.indexOf(row.state);
const ORDERS = {
  name: (row) => row.name, state: rank, task: (row) => row.task?.title ?? "\uffff", run: (row, v) => -(v.run_s ?? -1),
  output: (row, v) => v.output_age_s ?? 1e12, restarts: (row) => -row.restarts, cpu: (row, v) => -(v.share ?? -1), memory: (row, v) => -(v.memory_bytes ?? -1),
};

export class Agents {
  constructor(town, open) {
    this.town = town;
    this.open = open;
    this.nodes = new Map();
    this.by = "state";
    this.active = null;
    this.heads = HEADS.map(([name, title]) => this.#head(name, title));
    byId("agents-head").append(...this.heads);
    this.spaces = [byId("agents-above"), byId("agents-below")];
    let waiting = false;
    byId("agents-scroll").addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        this.#drawRows();
      });
    }, { passive: true });
    this.choice = byId("agents-by");
    this.choice.append(...HEADS.map(([name, title]) => h("option", { value: name, selected: name === this.by }, title)));
    this.choice.addEventListener("change", () => this.#sort(this.choice.value));
    byId("agents-body").addEventListener("keydown", (event) => this.#key(event));
    byId("agents-body").addEventListener("focusin", (event) => this.#focused(event.target.closest("tr")?.dataset.agent));
  }

  draw() {
    this.sorted = this.rows();
    const states = {};
    for (const row of this.town.agents.values()) states[row.state] = (states[row.state] ?? 0) + 1;
    const all = Object.entries(states).map(([state, count]) => `${count} ${label(state)}`).join(", ");
    say(byId("agents-count"), this.town.filter ? `${this.sorted.length} of ${this.town.agents.size}` : all);
    byId("agents-empty").hidden = this.town.agents.size > 0;
    byId("agents-sort").hidden = byId("agents-scroll").hidden = this.town.agents.size === 0;
    attribute(byId("agents-table"), "aria-rowcount", this.sorted.length + 1);
    if (!this.sorted.some((row) => row.name === this.active)) this.active = this.sorted[0]?.name ?? null;
    const held = document.activeElement?.closest?.("#agents-body tr")?.dataset.agent;
    this.#drawRows();
    if (held && this.buttonOf(held) !== document.activeElement) this.#show(this.sorted.findIndex((row) => row.name === held), { preventScroll: true });
  }

  // The height of a row is that of the style sheet, another one on a narrow page.
  resized() {
    this.height = Number.parseFloat(getComputedStyle(byId("agents-table")).getPropertyValue("--row")) || 48;
  }

  #drawRows() {
    if (!this.sorted) return;
    if (!this.height) this.resized();
    const total = this.sorted.length;
    const first = Math.max(0, Math.min(Math.floor(byId("agents-scroll").scrollTop / this.height), total) - MARGIN);
    const last = Math.min(total, first + Math.ceil(Math.min(innerHeight, VIEW) / this.height) + 2 * MARGIN);
    [first, total - last].forEach((count, n) => {
      this.spaces[n].hidden = count === 0;
      this.spaces[n].firstElementChild.style.height = `${count * this.height}px`;
    });
    const rows = this.sorted.slice(first, last);
    reconcile(byId("agents-body"), rows, this.nodes, (row) => this.#make(row), (node, row) => this.#update(node, row));
    rows.forEach((row, n) => {
      attribute(this.nodes.get(row.id), "aria-rowindex", first + n + 2);
      this.#vitals(this.nodes.get(row.id));
    });
    const stop = byId("agents-body").querySelector('.open[tabindex="0"]') ?? byId("agents-body").querySelector(".open");
    if (stop) attribute(stop, "tabindex", "0"); // one is in the tab order, also when the active row is far out of view
  }

  rows() {
    const order = ORDERS[this.by];
    const keyed = [...this.town.agents.values()]
      .filter((row) => this.town.takes(row.name, row.role, row.nickname, row.task?.title))
      .map((row) => [order(row, this.town.vitals.get(row.id) ?? {}), row]);
    keyed.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x.name < y.name ? -1 : 1));
    return keyed.map(([, row]) => row);
  }

  // What goes on without an event: times, output, CPU, memory.
  tick() {
    for (const node of this.nodes.values()) this.#vitals(node);
  }

  focus() {
    this.#show(this.sorted?.findIndex((row) => row.name === this.active) ?? -1);
  }

  // Bring a row into view and the focus to it.
  #show(place, options) {
    const row = this.sorted[place];
    if (!row) return;
    const scroll = byId("agents-scroll");
    const head = byId("agents-head").offsetHeight;
    const top = place * this.height;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    if (top + this.height + head > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + this.height + head - scroll.clientHeight;
    this.#drawRows();
    this.buttonOf(row.name)?.focus(options);
  }

  buttonOf(name) {
    return byId("agents-body").querySelector(`tr[data-agent="${CSS.escape(name)}"] button`);
  }

  #head(name, title) {
    const button = h("button", { type: "button", on: { click: () => this.#sort(name) } }, title);
    return h("th", { role: "columnheader", scope: "col", class: `c-${name}`, "aria-sort": name === this.by ? "ascending" : null }, button);
  }

  #sort(name) {
    this.by = this.choice.value = byId("agents-table").dataset.by = name;
    this.heads.forEach((head, n) => attribute(head, "aria-sort", HEADS[n][0] === name ? "ascending" : null));
    this.draw();
  }

  #make(row) {
    const open = h("button", { type: "button", class: "open", tabindex: "-1" });
    const cells = Object.fromEntries(HEADS.slice(1).map(([name]) => [name, h("td", { role: "cell", class: `c-${name}` })]));
    const about = h("span", { class: "about" });
    const node = h("tr", { role: "row", "data-agent": row.name }, h("th", { role: "rowheader", scope: "row", class: "c-name" }, open, about), Object.values(cells));
    const line = h("span", { class: "said" });
    const age = h("span", { class: "age" });
    cells.output.append(line, age);
    node.parts = { open, about, cells, line, age };
    node.addEventListener("click", () => this.open({ kind: "agent", name: node.row.name }));
    return node;
  }

  #update(node, row) {
    const { open, about, cells } = node.parts;
    attribute(open, "tabindex", row.name === this.active ? "0" : "-1");
    if (node.row === row) return;
    node.row = row;
    attribute(node, "data-agent", row.name);
    say(open, row.name);
    say(about, [row.role, row.cli].filter(Boolean).join(" · "));
    const state = row.stopping ? "stopping" : row.pausing && row.state !== "paused" ? `${label(row.state)}, pausing` : label(row.state);
    say(cells.state, `${sign(row.state)} ${state}`);
    attribute(cells.state, "class", `c-state state ${tone(row.state)}`);
    attribute(cells.state, "title", row.reason);
    const mail = row.pending.total ? ` (+${row.pending.total} in the mailbox)` : "";
    say(cells.task, `${titled(row.task?.title)}${row.task || !mail ? mail : mail.trim()}`);
    say(cells.restarts, row.restarts || "");
  }

  #vitals(node) {
    const { cells, line, age } = node.parts;
    const { row } = node;
    const seen = this.town.vitals.get(row.id);
    const passed = seen ? (performance.now() - seen.seen) / 1000 : 0;
    say(cells.run, row.state === "working" ? span(since(row.last_active_at, this.town.lead)) : "");
    say(line, seen?.last_output ?? "");
    attribute(line, "title", seen?.last_output || null);
    say(age, seen?.output_age_s === null || !seen ? "" : `${span(seen.output_age_s + passed)} ago`);
    say(cells.cpu, seen?.share === null || !seen ? "" : `${seen.share.toFixed(0)} %`);
    say(cells.memory, bytes(seen?.memory_bytes));
  }

  #focused(name) {
    if (!name || name === this.active) return;
    const old = this.active && this.buttonOf(this.active);
    if (old) attribute(old, "tabindex", "-1");
    this.active = name;
    attribute(this.buttonOf(name), "tabindex", "0");
  }

  #key(event) {
    const name = event.target.closest("tr")?.dataset.agent;
    const place = this.sorted.findIndex((row) => row.name === name);
    const last = this.sorted.length - 1;
    const next = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + 10, PageUp: place - 10, Home: 0, End: last }[event.key];
    if (place < 0 || next === undefined) return;
    event.preventDefault();
    this.#show(Math.max(0, Math.min(last, next)));
  }
}
