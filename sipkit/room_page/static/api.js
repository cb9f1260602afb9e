// What the page asks its own server: the state every few seconds, and the few things it may do.
//
// There is no cookie. Each request carries the visit token, which each state renews; each POST also brings a ticket,
// good once, so that a press that is sent twice counts once.

const PERIOD_MS = 2000;
const QUICK_MS = 700; // while a call is coming up
const PATIENCE_MS = 30000; // a dial waits for the platform
const RETRY_MS = [1000, 2000, 5000];

export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }

  // Asking again cannot help: the visit or the room is over.
  get final() {
    return this.status === 401 || this.status === 403 || this.status === 410;
  }
}

export class RoomApi {
  #path;
  #visit;
  #timer = 0;
  #failures = 0;
  #posts = 0; // answered ones
  #stopped = false;

  constructor(path, visit) {
    this.#path = path;
    this.#visit = visit;
  }

  async state() {
    const state = await this.#ask("GET", "state");
    this.#visit = state.visit;
    return state;
  }

  // A fresh ticket for each press: the last poll's may have been used, or be old in a tab that slept.
  async post(action, body = {}) {
    const { ticket } = await this.state();
    try {
      return await this.#ask("POST", action, { ...body, ticket });
    } finally {
      this.#posts += 1;
    }
  }

  // Tell `heard` every state, and `failed` each Refused, until a final one or stop().
  follow(heard, failed) {
    const round = async () => {
      let pause = PERIOD_MS;
      const posts = this.#posts;
      try {
        const state = await this.state();
        this.#failures = 0;
        if (this.#stopped) return;
        // Asked before a press was answered, it may not know of it.
        if (posts === this.#posts) heard(state);
        if (state.call === "dialing") pause = QUICK_MS;
      } catch (error) {
        if (this.#stopped) return;
        if (error.final) this.#stopped = true;
        failed(error);
        pause = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
        this.#failures += 1;
      }
      if (!this.#stopped) this.#timer = setTimeout(round, pause);
    };
    round();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #ask(method, what, body) {
    // ngrok's free plan shows browsers a page of its own first, unless this header asks for ours.
    const headers = { "X-Sipkit-Visit": this.#visit, "ngrok-skip-browser-warning": "1" };
    if (body) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(PATIENCE_MS);
    let answer;
    try {
      const request = { method, headers, signal, credentials: "omit", cache: "no-store", redirect: "error" };
      if (body) request.body = JSON.stringify(body);
      answer = await fetch(`${this.#path}/${what}`, request);
    } catch {
      throw new Refused(0, "The server does not answer. Is the notebook still running? The page keeps trying.");
    }
    const told = await answer.json().catch(() => null);
    if (answer.ok && told) return told;
    throw new Refused(answer.status, told?.error ?? `The server answered with an error (${answer.status}).`);
  }
}
