// One task, agent or item of a mission: what it is, what it waits for, what can be done, and its log.

import { ofAgent, ofItem, ofTask } from "/page/actions.js";
import { button } from "/page/ask.js";
import { path, request } from "/page/api.js";
import { byId, clean, h, helps, reconcile, renew, say } from "/page/dom.js";
import { Log } from "/page/log.js";
import { CONDUCTOR } from "/page/state.js";
import { bytes, label, moment, plural, short, sign, since, span, titled, tone } from "/page/words.js";

const WHY_MS = 1500; // not more often is it asked why something waits

export class Drawer {
  // `giveBack(subject)` puts the focus where the subject is shown on the page.
  constructor(town, giveBack) {
    this.town = town;
    this.covers = matchMedia("(max-width: 1100px)"); // as in page.css: the page is behind it, and out of reach
    this.covers.addEventListener("change", () => this.#cover());
    this.giveBack = giveBack;
    this.subject = null;
    this.node = byId("drawer");
    addEventListener("pointerdown", (event) => {
      if (this.isOpen && this.covers.matches && !event.target.closest("#drawer, #toasts, dialog")) this.close();
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  get isOpen() {
    return this.subject !== null;
  }

  open(subject) {
    this.log?.close();
    this.from = this.isOpen ? this.from : document.activeElement;
    this.subject = subject;
    this.row = this.logPath = this.whole = undefined;
    this.askedWhy = 0;
    this.parts = {
      title: h("h2", { id: "drawer-title", tabindex: "-1" }), state: h("p", { class: "line" }), act: h("div", { class: "buttons" }),
      why: h("ul", { class: "why" }), facts: h("dl", { class: "facts" }), text: h("div", { class: "texts" }), log: h("div", { class: "logplace" }),
    };
    const { title, state, act, why, facts, text, log } = this.parts;
    facts.known = new Map();
    const close = h("button", { type: "button", class: "close", on: { click: () => this.close() } }, "Close");
    this.node.replaceChildren(h("div", { class: "bar" }, title, close), h("div", { class: "inside" }, state, act, why, facts, text, log));
    this.node.hidden = false;
    document.body.classList.add("with-drawer");
    this.#cover();
    this.draw();
    title.focus();
  }

  close() {
    if (!this.isOpen) return;
    const { subject, from } = this;
    this.log?.close();
    this.log = this.subject = null;
    this.node.hidden = true;
    this.node.replaceChildren();
    document.body.classList.remove("with-drawer");
    this.#cover();
    if (from?.isConnected && from !== document.body) from.focus();
    if (document.activeElement !== from) this.giveBack(subject); // it is gone, or hidden
  }

  #cover() {
    for (const part of document.querySelectorAll("header, main, .skip")) part.inert = this.isOpen && this.covers.matches;
  }

  // Something changed; of the subject or of another.
  draw() {
    if (!this.isOpen) return;
    const { kind, id, name, mission } = this.subject;
    if (kind === "task") this.#task(this.town.tasks.get(id));
    else if (kind === "mail") this.#mail();
    else if (kind === "agent") this.#agent([...this.town.agents.values()].find((row) => row.name === name));
    else this.#item(this.town.item(mission, id), mission);
  }

  #task(row) {
    if (row && row === this.row) return;
    this.row = row;
    const { id } = this.subject;
    this.#whole(path`/v1/tasks/${id}`, row?.updated_at, (task) => this.#taskTexts(task));
    if (!row) return this.#gone("Task", id, "It is not among the tasks that are shown.");
    this.#head(titled(row.title) || "(no text)", row.id, row.state, row.reason, row.remedy);
    this.#actions(ofTask(row), { task_id: row.id, agent: row.agent });
    this.#facts([
      ["Agent", row.agent && this.#link(row.agent, { kind: "agent", name: row.agent })], ["Tries", row.attempts],
      ["Tags", row.tags?.join(", ")], ["Made", when(row.created_at, this.town)], ["Started", when(row.started_at, this.town)], ["Ended", when(row.completed_at, this.town)],
      ["Mission", row.item_id && this.#link(`item of mission ${short(row.mission_id)}`, { kind: "item", id: row.item_id, mission: row.mission_id })],
    ]);
    this.#why(path`/v1/tasks/${id}/why`, !["completed", "failed", "cancelled", "running"].includes(row.state));
    this.#log(!row.attempts && !row.started_at ? null : path`/v1/tasks/${id}/log/stream`, `${row.attempts} ${row.started_at}`);
  }

  #taskTexts(task) {
    this.#texts([["What it is to do", task.description], ["Result", task.result]]);
  }

  #agent(row) {
    if (row && row === this.row) return this.#agentFacts(row);
    this.row = row;
    const { name } = this.subject;
    if (!row) return this.#gone(`Agent ${name}`, null, "There is no such agent any more.");
    this.#head(row.name, row.id, row.state, row.reason);
    this.#actions(ofAgent(row), { agent: row.name });
    this.#agentFacts(row);
    this.#why(path`/v1/agents/${name}/why`, true);
    this.#log(path`/v1/agents/${name}/log/stream`, row.id);
  }

  #agentFacts(row) {
    const seen = this.town.vitals.get(row.id);
    const { pending } = row;
    this.#facts([
      ["Task", row.task && this.#link(titled(row.task.title), { kind: "task", id: row.task.id })], ["CLI", row.cli], ["Role", row.role],
      ["Rounds", row.rounds_max === null ? row.rounds : `${row.rounds} of ${row.rounds_max}`], ["Tasks done", row.tasks_completed], ["Restarts", row.restarts],
      ["Mailbox", [plural(pending.total, "message"), pending.claimed && `${pending.claimed} in the round`, pending.dead && `${pending.dead} given up`].filter(Boolean).join(", ")],
      ["Process", row.pid], ["Memory", bytes(seen?.memory_bytes)], ["CPU", seen?.share === null || !seen ? "" : `${seen.share.toFixed(0)} %`],
    ]);
  }

  #item(row, missionId) {
    if (row && row === this.row) return;
    this.row = row;
    if (!row) return this.#gone("Item", this.subject.id, "It is not among the missions that are shown.");
    this.#head(`${row.source_ref} ${row.title}`, row.id, row.needs_person ? "needs_you" : row.status, row.reason, row.remedy);
    this.#actions(ofItem(row), { mission_id: missionId, item_id: row.id, name: row.source_ref });
    const others = this.town.missions.get(missionId)?.items ?? [];
    const before = others.filter((item) => row.depends_on.includes(item.id));
    this.#facts([
      ["Agent", row.agent && this.#link(row.agent, { kind: "agent", name: row.agent })], ["Job", row.job],
      ["Task", row.task_id && this.#link(short(row.task_id), { kind: "task", id: row.task_id })],
      ["Waits for", before.length > 0 && h("span", {}, before.flatMap((item, n) => [n ? ", " : "", this.#link(item.source_ref, { kind: "item", id: item.id, mission: missionId })]))],
      ["Pull requests", row.pull_requests?.length > 0 && h("span", {}, row.pull_requests.flatMap((url, n) => [n ? ", " : "", outside(url)]))],
    ]);
    this.#log(row.task_id ? path`/v1/tasks/${row.task_id}/log/stream` : null, row.task_id);
  }

  // What agents wrote to people. After an event about it the mailbox may hold others, and as many.
  #mail() {
    const { pending } = this.town.head.conductor;
    this.#head("Your mailbox", null, null, plural(pending, "message"));
    const last = this.town.events.find((event) => event.agent_id === CONDUCTOR)?.id;
    this.#whole("/v1/agents/conductor/inbox", `${pending} ${last}`, (box) => this.#letters(box));
  }

  // The button is about what is shown, whatever comes later.
  #letters(box) {
    const shown = [...box.messages, ...box.broken.map((one) => ({ ...one, type: "unreadable" }))];
    const more = box.total + box.unreadable - shown.length;
    this.#actions(shown.length ? ["message.acknowledge"] : [], { message_ids: shown.map((one) => one.id) });
    if (!this.#differs("text", shown, more)) return;
    const letter = (one) => h("li", {}, h("p", { class: "reason" }, this.#sent(one)), h("p", {}, one.text), ...this.#answer(one));
    renew(this.parts.text, h("ul", { class: "mail" }, shown.map(letter)), more > 0 ? h("p", {}, `${more} more: shown when these are taken out.`) : "");
  }

  #sent(one) {
    const from = one.from && one.from !== CONDUCTOR ? ` from ${this.town.named(one.from)}` : "";
    return [label(one.type) + from, moment(one.created_at)].filter(Boolean).join(", ");
  }

  #answer(one) {
    const agent = one.type === "query" && this.town.agents.get(one.from)?.name;
    return agent ? [button("message.send", { agent }, "Answer")] : [];
  }

  #gone(title, id, reason) {
    this.#head(title, id, null, reason);
    this.#actions([], {});
    this.#facts([]);
  }

  // Each part is made anew only when it says something else: who is in it stays there.
  #differs(part, ...said) {
    const key = JSON.stringify(said);
    const isOther = this.parts[part].said !== key;
    this.parts[part].said = key;
    return isOther;
  }

  #head(title, id, state, reason, remedy) {
    say(this.parts.title, title);
    if (!this.#differs("state", id, state, reason, remedy)) return;
    const parts = [];
    if (state) parts.push(h("span", { class: `state ${tone(state)}` }, `${sign(state)} ${label(state)}`));
    if (id) parts.push(h("code", { title: id }, short(id)));
    if (reason) parts.push(h("span", { class: "reason" }, reason));
    if (remedy) parts.push(h("span", {}, helps(remedy)));
    renew(this.parts.state, ...parts);
  }

  #actions(names, target) {
    if (this.#differs("act", names, target)) renew(this.parts.act, ...names.map((name) => button(name, target)));
  }

  #facts(pairs) {
    const known = pairs.filter(([, value]) => value || value === 0);
    const rows = known.map(([id, value]) => ({ id, value, text: clean(value.textContent ?? value) }));
    reconcile(this.parts.facts, rows, this.parts.facts.known, (row) => h("div", {}, h("dt", {}, row.id), h("dd")), (node, { value, text }) => {
      if (node.lastElementChild.textContent !== text) renew(node.lastElementChild, value.nodeType ? value : text);
    });
  }

  #texts(pairs) {
    if (!this.#differs("text", pairs)) return;
    renew(this.parts.text, ...pairs.filter(([, text]) => text).map(([name, text]) => h("details", { open: text.length < 600 }, h("summary", {}, name), h("pre", { class: "plain", tabindex: "0" }, text.slice(0, 20000)))));
  }

  async #whole(from, mark, show) {
    if (this.whole === `${from} ${mark}`) return;
    this.whole = `${from} ${mark}`;
    const { subject } = this;
    try {
      const answer = await request("GET", from);
      if (this.subject === subject) show(answer);
    } catch (problem) {
      if (this.subject !== subject) return;
      if (subject.kind === "mail") this.#actions([], {}); // what is not shown is not taken out
      if (this.#differs("text", problem.message)) renew(this.parts.text, h("p", { class: "bad" }, problem.message));
    }
  }

  async #why(from, isOpen) {
    if (!isOpen) return this.#differs("why", []) && renew(this.parts.why);
    if (performance.now() - this.askedWhy < WHY_MS) return;
    this.askedWhy = performance.now();
    const { subject } = this;
    const answer = await request("GET", from).catch(() => ({ reasons: [] }));
    if (this.subject !== subject) return;
    if (!this.#differs("why", answer.reasons)) return;
    renew(this.parts.why, ...answer.reasons.map((reason) => h("li", {}, reason.text, " ", reason.remedy && helps(reason.remedy))));
  }

  // One stream at a time; a new one when another run writes another log.
  #log(from, mark) {
    const key = from && `${from} ${mark}`;
    if (this.logPath === key) return;
    this.logPath = key;
    this.log?.close();
    this.log = from ? new Log(from) : null;
    renew(this.parts.log, h("h3", {}, "Log"), this.log ? this.log.node : h("p", { class: "empty" }, "Nothing has worked on it yet."));
    this.log?.open();
  }

  #link(text, subject) {
    return h("button", { type: "button", class: "link", on: { click: () => this.open(subject) } }, text);
  }
}

// A link is one only when it leads to the web.
function outside(url) {
  const said = clean(url);
  return /^https?:\/\//.test(said) ? h("a", { href: said, target: "_blank", rel: "noopener noreferrer" }, said.replace(/^https?:\/\//, "")) : said;
}

function when(stamp, town) {
  const age = since(stamp, town.lead);
  return age === null ? null : `${new Date(stamp).toLocaleString([], { hour12: false })} (${span(age)} ago)`;
}
