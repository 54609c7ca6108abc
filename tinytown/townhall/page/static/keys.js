// Keys for the whole page. Within the board, the table and the graphs the arrows go from one to the next.

import { byId, h, wayBack } from "/page/dom.js";

const KEYS = [
  ["n", "to what needs you"], ["t", "to the tasks"], ["a", "to the agents"], ["m", "to the missions"], ["e", "to the events"],
  ["/", "filter tasks and agents; Enter: to the first that is found"], ["arrows", "from one card, row or box to the next; Home and End to the first and last"],
  ["Enter", "open what has the focus"], ["Tab", "to the next button"], ["Esc", "close a question, the drawer, a message; empty the filter"],
  ["Ctrl Enter", "send what is written"], ["?", "this list"],
];

export function listen(places) {
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, textarea, select") || document.querySelector("dialog[open]");
    if (event.key === "Escape") return places.escape(event);
    if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "?") help();
    else if (places[event.key]) places[event.key]();
    else return;
    event.preventDefault();
  });
  byId("help-button").addEventListener("click", help);
}

function help() {
  const dialog = byId("help");
  const close = h("button", { type: "button", on: { click: () => dialog.close() } }, "Close");
  dialog.replaceChildren(h("h2", { id: "help-title" }, "Keys"),
    h("dl", { class: "keys" }, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))), h("p", { class: "buttons" }, close));
  dialog.onclose = wayBack();
  dialog.showModal();
  close.focus();
}
