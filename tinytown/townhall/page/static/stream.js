// Keeps what is known of the town fresh: an event says that something changed, one request says what.
// At most one request is under way, and ten a second; a lost connection is tried again, ever more seldom.

import { request } from "/page/api.js";

const GAP_MS = 90;
const LOOK_MS = 2000; // output, CPU and memory change without an event
const HIDDEN_MS = 20000;
const REST_MS = 10000; // hidden for so long: a browser has six connections to a server, and other tabs need them
const BACKOFF_MS = [300, 700, 1500, 3000, 6000, 12000];

export class Stream {
  // `onAnswer(answer)`, `onState("live" | "lost", problem, secondsToNextTry)`
  constructor({ next, onAnswer, onState }) {
    Object.assign(this, { next, onAnswer, onState });
    this.tries = 0;
    this.busy = this.again = this.stopped = this.resting = false;
    this.lastEnd = 0;
    this.source = null;
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    addEventListener("online", () => this.source || this.open());
    document.addEventListener("visibilitychange", () => this.#turned());
  }

  async open() {
    this.close();
    this.stopped = this.resting = false;
    try {
      await this.#fetch();
    } catch (problem) {
      this.#lost(problem);
      return;
    }
    if (this.stopped) return;
    this.source = new EventSource("/v1/events/stream");
    this.source.onopen = () => {
      this.tries = 0;
      this.onState("live");
      this.wake(); // what happened between the answer and the stream
    };
    this.source.onmessage = () => this.wake();
    this.source.addEventListener("reset", () => this.wake());
    this.source.onerror = () => this.#lost(null);
    this.#tick();
  }

  // A tab that nobody sees looks now and then; when it is seen again it follows again.
  #turned() {
    clearTimeout(this.sleepy);
    if (document.hidden) this.sleepy = setTimeout(() => this.#rest(), REST_MS);
    else if (this.resting) this.open();
    else this.wake();
  }

  #rest() {
    if (!this.source) return;
    this.source.close();
    this.source = null;
    this.resting = true;
  }

  close() {
    this.stopped = true;
    this.resting = false;
    clearTimeout(this.ticker);
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  // Something may have changed.
  wake() {
    this.again = true;
    if (this.busy || !(this.source || this.resting)) return;
    this.busy = true;
    setTimeout(() => this.#run(), Math.max(0, this.lastEnd + GAP_MS - performance.now()));
  }

  async #run() {
    this.again = false;
    try {
      await this.#fetch();
    } catch (problem) {
      this.busy = false;
      if (this.source || this.resting) this.#lost(problem);
      return;
    }
    this.busy = false;
    this.lastEnd = performance.now();
    if (this.again) this.wake();
  }

  async #fetch() {
    const since = this.next();
    const answer = await request("GET", since ? `/page/state?since=${encodeURIComponent(since)}` : "/page/state");
    await new Promise((done) => setTimeout(done, 0)); // to read a large answer is a task of its own
    this.onAnswer(answer);
  }

  #tick() {
    this.ticker = setTimeout(() => {
      this.wake();
      this.#tick();
    }, document.hidden ? HIDDEN_MS : LOOK_MS);
  }

  #lost(problem) {
    this.close();
    if (problem?.status === 401) return; // whoever signs in opens it again
    const wait = BACKOFF_MS[Math.min(this.tries, BACKOFF_MS.length - 1)] * (0.8 + 0.4 * Math.random());
    this.tries += 1;
    this.onState("lost", problem, wait / 1000);
    this.retry = setTimeout(() => this.open(), wait);
  }
}
