// What happened, newest first.

import { byId, h, reconcile } from "/page/dom.js";
import { label } from "/page/words.js";

const SHOWN = 100;

export class Feed {
  constructor(town) {
    this.town = town;
    this.nodes = new Map();
  }

  draw() {
    const rows = this.town.events.slice(0, SHOWN);
    byId("events-empty").hidden = rows.length > 0;
    byId("feed").hidden = rows.length === 0;
    reconcile(byId("feed"), rows, this.nodes, make, () => {});
  }
}

function make(event) {
  const at = new Date(event.timestamp ?? Number(event.id.split("-")[0]));
  const time = Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], { hour12: false });
  return h("li", {}, h("time", { title: event.timestamp }, time), h("span", { class: "kind" }, label(event.event_type)), h("span", { class: "text" }, event.message || ""));
}
