// Tasks in columns by what must happen next. A column draws only the cards that are near the view.

import { attribute, byId, h, reconcile, say } from "/page/dom.js";
import { COLUMNS, label, marked, sign, since, span, titled, tone } from "/page/words.js";

const CARD = 82; // px, with the space below it: as in page.css
const MARGIN = 4; // cards above and below the view
const VIEW = 560; // px, the most that a column shows: as in page.css

export class Board {
  constructor(town, open) {
    this.town = town;
    this.open = open;
    this.active = null; // the task whose card is in the tab order
    this.columns = COLUMNS.map(([name, title]) => this.#column(name, title));
    byId("columns").append(...this.columns.map((column) => column.node));
    byId("columns").addEventListener("keydown", (event) => this.#key(event));
    byId("columns").addEventListener("focusin", (event) => this.#focused(event.target.closest("button.card")?.dataset.task));
  }

  draw() {
    if (this.town.unsorted) this.town.sort();
    const counts = this.columns.map((column) => this.town.columns[column.name].length);
    const total = counts.reduce((sum, count) => sum + count, 0);
    say(byId("board-count"), this.town.filter ? `${total} of ${this.town.tasks.size}` : total || "");
    byId("board-empty").hidden = this.town.tasks.size > 0;
    byId("columns").hidden = this.town.tasks.size === 0;
    if (!Object.values(this.town.columns).some((rows) => rows.some((row) => row.id === this.active))) this.active = this.columns.flatMap((c) => this.town.columns[c.name].slice(0, 1))[0]?.id ?? null;
    const held = document.activeElement?.closest?.("button.card")?.dataset.task;
    for (const column of this.columns) this.#seen(column).forEach((row) => this.#adopt(column, row));
    for (const column of this.columns) this.#draw(column);
    if (held && document.activeElement?.dataset?.task !== held) this.#show(held, { preventScroll: true }); // it went out of view
  }

  tick() {
    for (const column of this.columns) for (const node of column.nodes.values()) this.#age(node);
  }

  focus() {
    this.#show(this.active);
  }

  cardOf(taskId) {
    return byId("columns").querySelector(`button.card[data-task="${CSS.escape(taskId)}"]`);
  }

  #column(name, title) {
    const count = h("span", { class: "count" });
    const list = h("ol", { class: "cards" });
    const none = h("p", { class: "none" }, "–");
    const scroll = h("div", { class: "scroll" }, none, list);
    const node = h("section", { class: "column", "data-column": name, "aria-labelledby": `column-${name}` },
      h("h3", { id: `column-${name}` }, h("span", { class: `sign ${tone(name)}`, "aria-hidden": "true" }, sign(name)), ` ${title} `, count), scroll);
    const column = { name, node, list, scroll, count, none, nodes: new Map() };
    let waiting = false;
    scroll.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        this.#draw(column);
      });
    }, { passive: true });
    return column;
  }

  // The rows that are near the view.
  #seen({ name, scroll }) {
    const rows = this.town.columns[name];
    const first = Math.max(0, Math.min(Math.floor(scroll.scrollTop / CARD), rows.length) - MARGIN);
    return rows.slice(first, first + Math.ceil(VIEW / CARD) + 2 * MARGIN);
  }

  #draw(column) {
    const rows = this.town.columns[column.name];
    const { head } = this.town;
    const hidden = column.name === "done" && !this.town.filter ? (head?.done_hidden ?? 0) : 0;
    say(column.count, hidden ? `${rows.length} (and ${hidden} older)` : rows.length);
    column.none.hidden = rows.length > 0;
    const seen = this.#seen(column);
    const first = rows.indexOf(seen[0] ?? null);
    column.list.style.paddingTop = `${Math.max(0, first) * CARD}px`;
    column.list.style.paddingBottom = `${seen.length && (rows.length - first - seen.length) * CARD}px`;
    reconcile(column.list, seen, column.nodes, (row) => this.#make(row), (node, row) => this.#update(node, row));
    seen.forEach((row, n) => {
      attribute(column.nodes.get(row.id), "aria-posinset", first + n + 1);
      attribute(column.nodes.get(row.id), "aria-setsize", rows.length);
    });
    this.#keepStop();
  }

  // One card is in the tab order, also when the active one is far out of view.
  #keepStop() {
    if (!byId("columns").querySelector('.card[tabindex="0"]')) byId("columns").querySelector(".card")?.setAttribute("tabindex", "0");
  }

  // A card that comes from another column is the same element: it keeps the focus.
  #adopt(column, row) {
    if (column.nodes.has(row.id)) return;
    for (const other of this.columns) {
      const node = other !== column && other.nodes.get(row.id);
      if (!node) continue;
      other.nodes.delete(row.id);
      column.nodes.set(row.id, node);
    }
  }

  #make(row) {
    const node = h("li");
    const card = h("button", { type: "button", class: "card", "data-task": row.id, tabindex: "-1" });
    node.parts = { card, title: h("span", { class: "title" }), state: h("span", { class: "state" }), who: h("span", { class: "who" }), age: h("span", { class: "age" }), reason: h("span", { class: "reason" }) };
    const { title, state, who, age, reason } = node.parts;
    card.append(title, h("span", { class: "line" }, state, who, age), reason);
    card.addEventListener("click", () => this.open({ kind: "task", id: row.id }));
    node.append(card);
    return node;
  }

  #update(node, row) {
    attribute(node.parts.card, "tabindex", row.id === this.active ? "0" : "-1");
    if (node.row === row) return;
    node.row = row;
    const { title, state, who, reason } = node.parts;
    say(title, titled(row.title) || "(no text)");
    attribute(title, "title", row.title);
    say(state, `${sign(row.state)} ${label(row.state)}`);
    attribute(state, "class", `state ${tone(row.state)}`);
    say(who, row.agent ?? (row.state === "pending" ? "backlog" : ""));
    const mark = marked(row.title);
    say(reason, row.reason ?? [mark && `mission, ${mark}`, row.attempts > 1 && `try ${row.attempts}`].filter(Boolean).join(", "));
    this.#age(node);
  }

  #age(node) {
    const { row } = node;
    const from = row.state === "running" ? row.started_at : row.updated_at;
    const age = since(from ?? row.updated_at, this.town.lead);
    say(node.parts.age, age === null ? "" : span(age));
  }

  #focused(taskId) {
    if (!taskId || taskId === this.active) return;
    const old = this.active && this.cardOf(this.active);
    if (old) attribute(old, "tabindex", "-1");
    this.active = taskId;
    attribute(this.cardOf(taskId), "tabindex", "0");
  }

  // Bring a task's card into view and the focus to it.
  #show(taskId, options) {
    for (const column of this.columns) {
      const place = this.town.columns[column.name].findIndex((row) => row.id === taskId);
      if (place < 0) continue;
      const { scroll } = column;
      const top = place * CARD;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      if (top + CARD > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + CARD - scroll.clientHeight;
      this.#draw(column);
      this.cardOf(taskId)?.focus(options);
    }
  }

  #key(event) {
    const taskId = event.target.closest?.("button.card")?.dataset.task;
    const at = taskId ? this.columns.findIndex((column) => column.nodes.has(taskId)) : -1;
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const rows = this.town.columns[this.columns[at].name];
    const place = rows.findIndex((row) => row.id === taskId);
    const next = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + 8, PageUp: place - 8, Home: 0, End: rows.length - 1 }[event.key];
    let found = null;
    if (next !== undefined) found = rows[Math.max(0, Math.min(rows.length - 1, next))];
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") found = this.#beside(at, event.key === "ArrowLeft" ? -1 : 1, place);
    else return;
    event.preventDefault();
    if (found) this.#show(found.id);
  }

  #beside(at, step, place) {
    for (let n = at + step; n >= 0 && n < this.columns.length; n += step) {
      const rows = this.town.columns[this.columns[n].name];
      if (rows.length) return rows[Math.min(place, rows.length - 1)];
    }
    return null;
  }
}
