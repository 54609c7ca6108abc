// The page: what is known, its parts, and when each is drawn. At most once in a frame.

import { onSignedOut } from "/page/api.js";
import { dropLast, onDone } from "/page/ask.js";
import { Agents } from "/page/agents.js";
import { Board } from "/page/board.js";
import { attribute, byId, hide, say } from "/page/dom.js";
import { Drawer } from "/page/drawer.js";
import { Feed } from "/page/feed.js";
import { listen } from "/page/keys.js";
import { Missions } from "/page/missions.js";
import { Needs } from "/page/needs.js";
import * as signin from "/page/signin.js";
import { Town } from "/page/state.js";
import { Stream } from "/page/stream.js";
import { plural } from "/page/words.js";

const TICK_MS = 1000;
const town = new Town();
const open = (subject) => drawer.open(subject);
const drawer = new Drawer(town, giveBack);
const needs = new Needs(town, open);
const board = new Board(town, open);
const agents = new Agents(town, open);
const missions = new Missions(town, open);
const feed = new Feed(town);
const stream = new Stream({ next: () => town.next, onAnswer, onState });

const dirty = new Set();
let waiting = false;
let isBig = false;

function onAnswer(answer) {
  for (const part of town.apply(answer)) dirty.add(part);
  isBig ||= answer.tasks.length + answer.agents.length > SMALL;
  if (waiting) return;
  waiting = true;
  later(draw);
}

// One part in each frame: a big town's first drawing holds nothing up.
const STEPS = [
  ["head", drawHead], ["needs", () => needs.draw()], ["tasks", () => board.draw()], ["agents", () => agents.draw()],
  ["missions", () => missions.draw()], ["events", () => feed.draw()],
];
const SMALL = 400; // rows of an answer that are drawn in one frame

function draw() {
  if (!waiting) return;
  if (dirty.delete("vitals") && !dirty.has("agents")) agents.tick();
  for (const [part, step] of STEPS) {
    if (!dirty.delete(part)) continue;
    step();
    if (isBig) break;
  }
  if (STEPS.some(([part]) => dirty.has(part))) return later(draw);
  waiting = isBig = false;
  drawer.draw();
  byId("main").dataset.drawn = town.next;
}

// In the next frame; a hidden page has none.
function later(step) {
  if (document.hidden) setTimeout(step, 0);
  else requestAnimationFrame(step);
}

function drawHead() {
  const { head } = town;
  say(byId("town"), head.town);
  const supervisor = head.supervisor.running ? "supervisor runs" : "no supervisor";
  hide(byId("mail"), !head.conductor.pending);
  say(byId("mail"), `${plural(head.conductor.pending, "message")} for you`);
  say(byId("facts"), [supervisor, plural(town.agents.size, "agent"), `${head.counts.running} running`, `${head.counts.assigned + head.counts.pending} waiting`].join(" · "));
}

function onState(state, problem, wait) {
  const banner = byId("banner");
  attribute(byId("live"), "class", `live ${state}`);
  say(byId("live"), state === "live" ? "Live" : "Not connected");
  banner.hidden = state === "live";
  if (state === "live") return signin.offerLeave();
  const what = problem && problem.status ? problem.message : "The connection to the town hall is lost.";
  const seen = town.head ? " What is shown may be old." : "";
  say(banner, `${what}${seen} Trying again in ${Math.max(1, Math.round(wait))} s.`);
}

// The focus goes back to where a subject is shown.
function giveBack(subject) {
  const node =
    subject.kind === "task" ? board.cardOf(subject.id) : subject.kind === "agent" ? agents.buttonOf(subject.name) : subject.kind === "item" ? missions.boxOf(subject.id) : byId("mail");
  node?.focus();
  if (!node || document.activeElement !== node) byId("board").focus();
}

function goTo(id, focus) {
  return () => {
    if (byId("main").inert) drawer.close(); // it covers the page
    byId(id).scrollIntoView({ block: "start" });
    byId(id).focus({ preventScroll: true });
    focus?.();
  };
}

byId("mail").addEventListener("click", () => drawer.open({ kind: "mail" }));

let typed = 0;
let beforeFilter = null;
byId("filter").addEventListener("focus", ({ relatedTarget }) => (beforeFilter = relatedTarget));
byId("filter").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(filter, 80);
});

function filter() {
  clearTimeout(typed);
  town.filter = byId("filter").value.trim().toLowerCase();
  if (!town.head) return;
  town.sort();
  board.draw();
  agents.draw();
}

// To what the filter has found.
byId("filter").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== "ArrowDown") return;
  event.preventDefault();
  filter();
  board.focus();
  if (document.activeElement === byId("filter")) agents.focus();
});

// Out of the filter, which is empty then, to where one was.
function leaveFilter() {
  byId("filter").value = "";
  filter();
  if (beforeFilter?.isConnected) beforeFilter.focus();
  if (document.activeElement === byId("filter")) byId("board").focus({ preventScroll: true });
}

function escape() {
  if (document.querySelector("dialog[open]")) return; // it closes by itself
  if (document.activeElement === byId("filter")) leaveFilter();
  else if (document.activeElement.closest("#toasts") || !drawer.isOpen) dropLast();
  else drawer.close();
}

listen({
  n: goTo("needs", () => byId("needs-list").querySelector("button")?.focus()),
  t: goTo("board", () => board.focus()),
  a: goTo("agents", () => agents.focus()),
  m: goTo("missions", () => byId("missions-list").querySelector(".box[tabindex='0']")?.focus()),
  e: goTo("events", () => byId("feed").focus()),
  "/": () => {
    if (byId("main").inert) drawer.close();
    byId("filter").focus();
  },
  escape,
});

onDone(() => stream.wake());
onSignedOut(() => {
  say(byId("live"), "Signed out");
  signin.ask(() => stream.open());
});
addEventListener("resize", resized);
let wide = 0; // of the page, which a drawer makes narrower
new ResizeObserver(([{ contentRect: { width } }]) => {
  if (width !== wide) resized();
  wide = width;
}).observe(byId("main"));

function resized() {
  if (!town.head) return;
  agents.resized();
  agents.draw();
  board.draw();
  missions.draw();
}

setInterval(() => {
  if (document.hidden || !town.head) return;
  needs.tick();
  board.tick();
  agents.tick();
}, TICK_MS);

const refused = await signin.byLink();
if (refused) signin.ask(() => stream.open(), refused);
else stream.open();
