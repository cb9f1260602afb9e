// The way to the sandbox: requests and news over one WebSocket, in JSON text frames.
//
// A Wire is one socket. A Line is the connection that outlives it: when the socket is lost it comes back within 30 s
// with `resume`, and what was asked meanwhile waits.

// A beat comes every 5 s; three missed ones and the socket is taken for lost, though it may look open.
const BEAT_TIMEOUT = 15_000;
const OPEN_TIMEOUT = 8_000;
const ANSWER_TIMEOUT = 15_000;
const RESUME_WITHIN = 30_000;
const RESUME_PAUSES = [100, 250, 500, 1000, 2000];

// Errors that the server answered, as opposed to those of a broken connection.
const refusals = new WeakSet();

class Wire {
  constructor(url, hear, lost) {
    this._hear = hear;
    this._lost = lost;
    this._asked = new Map();
    this._lastId = 0;
    this._socket = new WebSocket(url);
    this._socket.onmessage = (message) => this._received(JSON.parse(message.data));
    this._socket.onclose = () => this._end();
    this._watch = setTimeout(() => this._end(), OPEN_TIMEOUT);
    this.open = new Promise((resolve, reject) => {
      this._refuse = () => reject(unreachable());
      this._socket.onopen = () => {
        this._alive();
        resolve();
      };
    });
  }

  ask(what, fields = {}) {
    if (this._socket.readyState !== WebSocket.OPEN) return Promise.reject(cut());
    this._lastId += 1;
    const id = this._lastId;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this._asked.delete(id);
        reject(otError("OT_TIMEOUT", `the server gave no answer to "${what}" in ${ANSWER_TIMEOUT / 1000} s`));
      }, ANSWER_TIMEOUT);
      this._asked.set(id, { resolve, reject, late });
      this._socket.send(JSON.stringify({ ...fields, id, do: what }));
    });
  }

  // Close without telling anybody: what was asked is answered by an error.
  close() {
    this._lost = () => {};
    this._end();
  }

  _received(message) {
    this._alive();
    if (message.reply === undefined) {
      this._hear(message);
      return;
    }
    const asked = this._asked.get(message.reply);
    if (!asked) return;
    this._asked.delete(message.reply);
    clearTimeout(asked.late);
    if (!message.error) {
      asked.resolve(message.ok ?? {});
      return;
    }
    const error = otError(message.error.name, message.error.message, message.error.code);
    refusals.add(error);
    asked.reject(error);
  }

  _alive() {
    clearTimeout(this._watch);
    this._watch = setTimeout(() => this._end(), BEAT_TIMEOUT);
  }

  _end() {
    clearTimeout(this._watch);
    this._socket.onmessage = null;
    this._socket.onclose = null;
    this._socket.onopen = null;
    this._socket.close();
    this._refuse();
    for (const { reject, late } of this._asked.values()) {
      clearTimeout(late);
      reject(cut());
    }
    this._asked.clear();
    const lost = this._lost;
    this._lost = () => {};
    lost();
  }
}

class Line {
  // `hears`: news(message), reconnecting(), reconnected(snapshot), gone(reason)
  constructor(url, hears) {
    this._url = url;
    this._hears = hears;
    this._wire = null;
    // The wire on which `connect` or `resume` is being asked.
    this._trial = null;
    this._waiting = [];
    this._ended = false;
  }

  async connect(fields) {
    const answer = await this._enter("connect", fields);
    this._key = { connectionId: answer.connection.connectionId, resumeKey: answer.resumeKey };
    return answer;
  }

  ask(what, fields) {
    if (this._ended) return Promise.reject(cut());
    if (this._wire) return this._wire.ask(what, fields);
    return new Promise((resolve, reject) => this._waiting.push({ what, fields, resolve, reject }));
  }

  get reconnecting() {
    return this._key !== undefined && !this._wire && !this._ended;
  }

  // Leave: resolves once the server was told, or cannot be; the socket is closed either way. On a wire that is still
  // coming in this is asked behind `connect`, without waiting for its answer: the server does one after the other,
  // and a page that is being closed gets no further turn.
  async leave() {
    const wire = this._wire ?? this._trial;
    this._end();
    if (!wire) return;
    await wire.ask("disconnect").catch(() => {});
    wire.close();
  }

  // Ask `connect` or `resume` on a new wire, and keep it when the answer is good and nobody left meanwhile.
  async _enter(what, fields) {
    const wire = this._newWire();
    this._trial = wire;
    try {
      await wire.open;
      if (this._ended) throw cut();
      const answer = await wire.ask(what, fields);
      if (this._ended) throw cut();
      this._wire = wire;
      return answer;
    } catch (error) {
      wire.close();
      throw error;
    } finally {
      this._trial = null;
    }
  }

  _newWire() {
    const wire = new Wire(this._url, (message) => this._heard(message), () => this._dropped(wire));
    wire.open.catch(() => {});
    return wire;
  }

  _heard(message) {
    if (this._ended || message.event === "beat") return;
    if (message.event === "sessionDisconnected") this._finish(message.reason);
    else this._hears.news(message);
  }

  _dropped(wire) {
    if (wire !== this._wire || this._ended) return;
    this._wire = null;
    this._resume();
  }

  async _resume() {
    this._hears.reconnecting();
    const deadline = performance.now() + RESUME_WITHIN;
    for (let turn = 0; !this._ended && performance.now() < deadline; turn += 1) {
      const answer = await this._tryToResume();
      if (this._ended) return;
      if (answer === "refused") break;
      if (answer) {
        this._hears.reconnected(answer);
        for (const { what, fields, resolve, reject } of this._waiting.splice(0)) {
          this.ask(what, fields).then(resolve, reject);
        }
        return;
      }
      await pause(RESUME_PAUSES[Math.min(turn, RESUME_PAUSES.length - 1)]);
    }
    if (!this._ended) this._finish("networkDisconnected");
  }

  async _tryToResume() {
    try {
      const answer = await this._enter("resume", this._key);
      if (answer.resumeKey) this._key.resumeKey = answer.resumeKey;
      return answer;
    } catch (error) {
      // A cut socket or a late answer is worth another try; a "no" is not.
      return refusals.has(error) ? "refused" : null;
    }
  }

  _finish(reason) {
    const wire = this._wire;
    this._end();
    wire?.close();
    this._hears.gone(reason);
  }

  _end() {
    this._ended = true;
    this._wire = null;
    this._trial = null;
    for (const { reject } of this._waiting.splice(0)) reject(cut());
  }
}

function cut() {
  return otError("OT_NOT_CONNECTED", "the connection to the session was lost before the call was answered");
}

function unreachable() {
  return navigator.onLine
    ? otError("OT_CONNECT_FAILED", "the video server cannot be reached: is it running, and does the page's "
      + "Content-Security-Policy allow it (connect-src)?")
    : otError("OT_NOT_CONNECTED", "this computer is offline");
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
