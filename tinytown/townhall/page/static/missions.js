// Missions, each as a drawn graph of its items: boxes that can be clicked, focused and read out.

import { button } from "/page/ask.js";
import { ofMission } from "/page/actions.js";
import { attribute, byId, clean, h, helps, reconcile, renew, say } from "/page/dom.js";
import { label, plural, short, sign, tone } from "/page/words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 206, SLIM = 150, HEIGHT = 54; // of a box; slim ones on a phone
const DRAWN_MOST = 300; // items; a larger mission is a list
const NARROW_PX = 900; // from top to bottom
const PHONE_PX = 480;

export class Missions {
  constructor(town, open) {
    this.town = town;
    this.open = open;
    this.nodes = new Map();
    this.worker = new Worker("/page/layout.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.#laidOut(data);
  }

  draw() {
    const rows = [...this.town.missions.values()].sort((a, b) => Number(!!a.ended_at) - Number(!!b.ended_at) || later(a, b));
    const open = rows.filter((row) => !row.ended_at).length;
    say(byId("missions-count"), rows.length ? `${open} under way` : "");
    byId("missions-empty").hidden = rows.length > 0;
    reconcile(byId("missions-list"), rows, this.nodes, (row) => this.#make(row), (node, row) => this.#update(node, row));
  }

  boxOf(itemId) {
    return byId("missions-list").querySelector(`[data-item="${CSS.escape(itemId)}"]`);
  }

  #make(row) {
    const title = `mission-${row.id}`;
    const node = h("article", { class: "mission", "aria-labelledby": title });
    node.parts = { head: h("h3", { id: title }), state: h("span"), counts: h("span", { class: "counts" }), why: h("p", { class: "reason" }), act: h("div", { class: "buttons" }), graph: h("div", { class: "graph scroll" }) };
    const { head, state, counts, why, act, graph } = node.parts;
    head.append(`Mission ${short(row.id)} `, state);
    node.append(h("div", { class: "what" }, head, counts, why), act, graph);
    graph.addEventListener("keydown", (event) => this.#key(event));
    graph.addEventListener("focusin", (event) => this.#focused(event.target.closest(".box")));
    return node;
  }

  #update(node, row) {
    if (node.row === row) return;
    node.row = row;
    const { state, counts, why, act, graph } = node.parts;
    const word = row.stopped && !row.ended_at ? "stopped" : row.state;
    say(state, `${sign(word)} ${label(word)}`);
    attribute(state, "class", `state ${tone(word)}`);
    const done = row.counts.done ?? 0;
    const rest = Object.entries(row.counts).filter(([name, count]) => count && name !== "done").map(([name, count]) => `${count} ${label(name)}`);
    say(counts, [`${done} of ${plural(row.items.length, "item")} done`, ...rest, row.auto_merge ? "merges by itself" : ""].filter(Boolean).join(", "));
    const reason = JSON.stringify([row.reason, row.remedy]);
    if (node.reason !== reason) {
      node.reason = reason;
      renew(why, row.reason ?? "", ...(row.remedy ? [" ", helps(row.remedy)] : []));
    }
    const names = ofMission(row);
    if (node.names !== names.join()) { // else they stay: somebody may be about to press one
      node.names = names.join();
      renew(act, ...names.map((name) => button(name, { mission_id: row.id })));
    }
    if (row.items.length > DRAWN_MOST) this.#list(graph, row);
    else this.#graph(node, row);
  }

  #list(graph, row) {
    const rows = row.items.filter((item) => item.status !== "done").slice(0, DRAWN_MOST);
    renew(graph, h("ol", { class: "items" }, rows.map((item) => h("li", {},
      h("button", { type: "button", class: "link", "data-item": item.id, on: { click: () => this.#open(row, item) } }, `${sign(item.status)} ${item.source_ref} ${item.title}: ${label(item.status)}`)))));
  }

  // The places are worked out anew only when items or edges are others.
  #graph(node, row) {
    const direction = innerWidth < NARROW_PX ? "TB" : "LR";
    const width = innerWidth < PHONE_PX ? SLIM : WIDTH;
    const ids = new Set(row.items.map((item) => item.id));
    const edges = row.items.flatMap((item) => item.depends_on.filter((before) => ids.has(before)).map((before) => [before, item.id]));
    const shape = JSON.stringify([direction, width, [...ids], edges]);
    if (node.shape !== shape) {
      node.shape = shape;
      this.worker.postMessage({ key: row.id, nodes: [...ids], edges, direction, width, height: HEIGHT });
    } else if (node.boxes) for (const item of row.items) this.#fill(node, node.boxes.get(item.id), row, item);
  }

  #laidOut({ key, width, wide, high, nodes, edges }) {
    const node = this.nodes.get(key);
    if (!node) return;
    const { row } = node;
    const items = new Map(row.items.map((item) => [item.id, item]));
    const held = document.activeElement?.dataset?.item;
    node.letters = Math.floor((width - 20) / 7.3);
    const svg = s("svg", { width: Math.ceil(wide), height: Math.ceil(high), viewBox: `0 0 ${Math.ceil(wide)} ${Math.ceil(high)}`, role: "group", "aria-label": `The items of mission ${short(key)}, and what waits for what` });
    for (const { points } of edges) svg.append(s("path", { class: "edge", d: `M${points.map((p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("L")}` }), arrow(points.at(-2), points.at(-1)));
    node.boxes = new Map();
    nodes.forEach(({ id, x, y }, n) => {
      const item = items.get(id);
      if (!item) return;
      const box = s("g", { class: "box", role: "button", tabindex: n ? "-1" : "0", "data-item": id, transform: `translate(${x - width / 2} ${y - HEIGHT / 2})` });
      const inside = s("svg", { width: width - 6, height: HEIGHT }); // cuts off what is too long
      inside.append(s("text", { x: 10, y: 21, class: "name" }), s("text", { x: 10, y: 41, class: "about" }));
      box.append(s("rect", { width, height: HEIGHT, rx: 6 }), inside);
      box.addEventListener("click", () => this.#open(node.row, node.row.items.find((each) => each.id === id)));
      node.boxes.set(id, box);
      this.#fill(node, box, row, item);
      svg.append(box);
    });
    node.parts.graph.style.containIntrinsicSize = `${Math.ceil(wide)}px ${Math.ceil(high)}px`; // its size while out of view
    node.parts.graph.replaceChildren(svg);
    if (held && node.boxes.has(held)) node.boxes.get(held).focus();
  }

  #fill({ letters }, box, row, item) {
    if (!box || box.item === item) return;
    box.item = item;
    const word = item.needs_person ? "needs_you" : item.status;
    const about = [item.needs_person ? "needs you" : label(item.status), item.job && item.job !== "work" ? item.job : "", item.agent].filter(Boolean).join(" · ");
    const [name, said] = box.lastElementChild.children;
    const ref = /#\d+$/.exec(clean(item.source_ref))?.[0] ?? `${item.number}.`;
    say(name, cut(`${ref} ${clean(item.title)}`, letters));
    say(said, cut(`${sign(word)} ${about}`, letters + 2));
    attribute(box, "class", `box ${tone(word)}`);
    attribute(box, "aria-label", clean(`${ref} ${item.title}: ${about}${item.reason ? `, ${item.reason}` : ""}`));
  }

  #open(row, item) {
    if (item) this.open({ kind: "item", id: item.id, mission: row.id });
  }

  // The arrows go through the boxes in the order of the graph.
  #key(event) {
    const box = event.target.closest(".box");
    if (!box) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      box.dispatchEvent(new MouseEvent("click"));
      return;
    }
    const boxes = [...box.parentNode.querySelectorAll(".box")];
    const place = boxes.indexOf(box);
    const to = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: boxes.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const next = boxes[to];
    if (!next) return;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // One box of a graph is in the tab order: the one that had the focus last.
  #focused(box) {
    for (const each of box?.parentNode.querySelectorAll(".box") ?? []) attribute(each, "tabindex", each === box ? "0" : "-1");
  }
}

const later = (a, b) => (a.created_at === b.created_at ? (a.id < b.id ? -1 : 1) : a.created_at < b.created_at ? 1 : -1);
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function s(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function arrow(from, to) {
  const angle = (Math.atan2(to.y - from.y, to.x - from.x) * 180) / Math.PI;
  return s("path", { class: "tip", d: "M0 0L-7 -3.5L-7 3.5Z", transform: `translate(${to.x} ${to.y}) rotate(${angle})` });
}
