// What happened, newest first.

import { byId, h, reconcile } from "/page/dom.js";
import { label, moment } from "/page/words.js";

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
    reconcile(byId("feed"), rows, this.nodes, (event) => make(event, this.town.named(event.agent_id)), () => {});
  }
}

function make(event, who) {
  const time = moment(event.timestamp ?? Number(event.id.split("-")[0]));
  const said = (event.message || "").replace(/^Agent '[^']*':? /, ""); // who it is stands before it
  return h("li", {}, h("time", { title: event.timestamp }, time), h("strong", { class: "who", title: who }, who), h("span", { class: "kind" }, label(event.event_type)), h("span", { class: "text" }, said));
}
