// What needs a person: why, how much waits behind it, the command that helps, and buttons.

import { button } from "/page/ask.js";
import { ACTIONS } from "/page/actions.js";
import { byId, h, helps, hide, reconcile, renew, say } from "/page/dom.js";
import { plural, since, span } from "/page/words.js";

const SHOWN = 12;

export class Needs {
  constructor(town, open) {
    this.town = town;
    this.open = open;
    this.nodes = new Map();
    this.all = false;
    this.told = null;
    this.more = h("button", { type: "button", class: "more", hidden: true, on: { click: () => this.#toggle() } }, "");
    byId("needs-list").after(this.more);
  }

  draw() {
    const rows = this.town.order.map((id) => this.town.needs.get(id)).filter(Boolean);
    const shown = this.all ? rows : rows.slice(0, SHOWN);
    reconcile(byId("needs-list"), shown, this.nodes, (row) => this.#make(row), (node, row) => this.#update(node, row));
    say(byId("needs-count"), rows.length || "");
    byId("needs-empty").hidden = rows.length > 0;
    byId("needs").classList.toggle("quiet", rows.length === 0);
    hide(this.more, rows.length <= SHOWN);
    say(this.more, this.all ? "Show fewer" : `Show all ${rows.length}`);
    this.#announce(rows);
  }

  tick() {
    for (const node of this.nodes.values()) this.#age(node);
  }

  #toggle() {
    this.all = !this.all;
    this.draw();
  }

  // Only what is new is read out, and that there is nothing any more.
  #announce(rows) {
    const ids = new Set(rows.map((row) => row.id));
    const fresh = this.told === null ? rows : rows.filter((row) => !this.told.has(row.id));
    if (fresh.length === 1) say(byId("needs-said"), `Needs you: ${fresh[0].title}, ${fresh[0].reason}`);
    else if (fresh.length) say(byId("needs-said"), `${plural(fresh.length, "thing")} need you`);
    else if (this.told?.size && !ids.size) say(byId("needs-said"), "Nothing waits for you any more");
    this.told = ids;
    document.title = `${rows.length ? `(${rows.length}) ` : ""}${this.town.head.town} · Tinytown`;
  }

  #make(row) {
    const node = h("li", { class: "need", "data-need": row.id });
    node.parts = { title: h("strong"), reason: h("p", { class: "reason" }), behind: h("span", { class: "behind" }), age: h("span", { class: "age" }), act: h("div", { class: "buttons" }) };
    const { title, reason, behind, age, act } = node.parts;
    node.append(h("div", { class: "what" }, h("p", { class: "head" }, h("span", { class: "sign bad", "aria-hidden": "true" }, "! "), title, behind, age), reason), act);
    return node;
  }

  #update(node, row) {
    if (node.row === row) return;
    node.row = row;
    const { title, reason, behind, act } = node.parts;
    say(title, row.title);
    say(reason, row.reason);
    say(behind, row.behind ? `${plural(row.behind, "task")} behind it` : "");
    this.#age(node);
    const key = JSON.stringify([row.remedy, row.actions, row.agent, row.task_id, row.item_id, row.letter_id]);
    if (node.key === key) return;
    node.key = key;
    const target = { ...row, name: row.title };
    const isMail = row.kind === "mail"; // it is taken out where all of it is read
    const open = isMail || row.item_id || row.task_id || row.agent;
    renew(act,
      ...(row.remedy ? [helps(row.remedy)] : []),
      ...row.actions.filter((name) => ACTIONS[name] && !isMail).map((name) => button(name, target)),
      ...(isMail && row.agent ? [button("message.send", target, "Answer")] : []),
      ...(open ? [h("button", { type: "button", on: { click: () => this.open(subject(row)) } }, isMail ? "Read" : "Open")] : []),
    );
  }

  #age(node) {
    const age = since(node.row.since, this.town.lead);
    say(node.parts.age, age === null ? "" : `for ${span(age)}`);
  }
}

function subject(row) {
  if (row.kind === "mail") return { kind: "mail" };
  if (row.item_id) return { kind: "item", id: row.item_id, mission: row.mission_id };
  if (row.task_id) return { kind: "task", id: row.task_id };
  return { kind: "agent", name: row.agent };
}
