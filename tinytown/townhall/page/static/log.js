// A log as it is written, read by one stream. However much comes, it is taken in in small portions between frames,
// and only the last lines are kept as elements.

import { clean, h, say } from "/page/dom.js";

const LINES_MOST = 5000;
const BLOCK = 60; // lines in one element: what is out of view costs no layout
const LINE_MOST = 4000; // characters
const PORTION = 120; // lines in one frame
const TAIL = 120000; // bytes
const REST_MS = 10000; // as in stream.js
const AGAIN_MS = [300, 1000, 3000, 8000]; // a run that has just begun has no log yet

export class Log {
  constructor(path) {
    this.path = path;
    this.pending = []; // lines
    this.rest = "";
    this.lines = 0;
    this.dropped = 0;
    this.tries = 0;
    this.drawing = false;
    this.text = h("div", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
    this.last = h("pre", { class: "block" }); // the line that is being written
    this.note = h("p", { class: "lognote", role: "status" }, "Opening the log …");
    this.follow = h("input", { type: "checkbox", id: "log-follow", checked: true });
    this.node = h("div", { class: "logbox" }, h("p", { class: "check" }, this.follow, h("label", { for: "log-follow" }, "Follow")), this.note, this.text);
    this.follow.addEventListener("change", () => this.#bottom());
    const leave = () => (this.follow.checked = false);
    this.text.addEventListener("wheel", (event) => event.deltaY < 0 && leave(), { passive: true });
    this.text.addEventListener("touchmove", leave, { passive: true });
    this.text.addEventListener("keydown", (event) => {
      if (["ArrowUp", "PageUp", "Home"].includes(event.key)) leave();
      if (event.key === "End") this.follow.checked = true;
    });
  }

  open() {
    this.turned = () => this.#turned();
    document.addEventListener("visibilitychange", this.turned);
    this.#listen();
  }

  #turned() {
    clearTimeout(this.sleepy);
    if (document.hidden) {
      this.sleepy = setTimeout(() => this.#hush(), REST_MS);
    } else if (!this.source) {
      this.#clear();
      this.#listen();
    }
  }

  #opened() {
    say(this.note, this.lines || this.rest ? "" : "Nothing is written yet.");
  }

  #hush() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  #listen() {
    this.source = new EventSource(`${this.path}?tail=${TAIL}`);
    this.source.onopen = () => {
      this.tries = 0;
      this.#opened();
    };
    this.source.onmessage = (event) => this.#take(JSON.parse(event.data).text);
    this.source.addEventListener("reset", () => this.#clear());
    this.source.onerror = () => {
      if (this.source.readyState !== EventSource.CLOSED) return say(this.note, "The connection is lost; trying again …");
      say(this.note, "No log yet: nothing has worked on it.");
      this.again = setTimeout(() => this.#listen(), AGAIN_MS[Math.min(this.tries, AGAIN_MS.length - 1)]);
      this.tries += 1;
    };
  }

  close() {
    clearTimeout(this.sleepy);
    document.removeEventListener("visibilitychange", this.turned);
    this.#hush();
    this.pending = [];
  }

  #clear() {
    this.text.replaceChildren();
    this.block = null;
    this.pending = [];
    this.rest = "";
    this.lines = this.dropped = 0;
  }

  #take(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop().slice(-LINE_MOST);
    for (const line of lines) this.pending.push(line);
    if (this.pending.length > LINES_MOST) this.dropped += this.pending.splice(0, this.pending.length - LINES_MOST).length;
    if (!this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => this.#draw());
    }
  }

  #draw() {
    for (const line of this.pending.splice(0, PORTION)) {
      if (!this.block || this.block.lines >= BLOCK || !this.block.isConnected) {
        this.block = h("pre", { class: "block" });
        this.block.lines = 0;
        this.text.append(this.block, this.last);
      }
      this.block.append(`${shown(line)}\n`);
      this.block.lines += 1;
      this.lines += 1;
    }
    while (this.lines > LINES_MOST) {
      this.lines -= this.text.firstElementChild.lines;
      this.dropped += this.text.firstElementChild.lines;
      this.text.firstElementChild.remove();
    }
    if (!this.last.isConnected) this.text.append(this.last);
    say(this.last, shown(this.rest));
    say(this.note, this.dropped ? `The last ${this.lines} lines; all of it: tt logs` : "");
    this.#bottom();
    this.drawing = this.pending.length > 0;
    if (this.drawing) requestAnimationFrame(() => this.#draw());
  }

  #bottom() {
    if (this.follow.checked) this.text.scrollTop = this.text.scrollHeight;
  }
}

// What a terminal would show of the line in the end: behind the last return to its beginning.
function shown(line) {
  const whole = line.endsWith("\r") ? line.slice(0, -1) : line;
  const text = whole.slice(whole.lastIndexOf("\r") + 1);
  return clean(text.length > LINE_MOST ? `${text.slice(0, LINE_MOST)} … (${text.length - LINE_MOST} more characters)` : text);
}
