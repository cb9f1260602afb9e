// A session: what a page asks of it. What it hears of is in roster.js.

class Session extends Roster {
  constructor(project, sessionId) {
    super();
    this.sessionId = sessionId;
    this.id = sessionId;
    this.apiKey = project;
    // Also when the page goes into the back/forward cache (`persisted`): whether it comes back is not known then, its
    // media and socket would keep it out of the cache, and others shall not look at a still picture for 30 s. A page
    // that does come back was told sessionDisconnected, and can connect() again.
    this._leave = () => this.disconnect();
    withPromise(this, "connect", 1);
    withPromise(this, "publish", 2);
    withPromise(this, "subscribe", 3);
    withPromise(this, "signal", 1);
    withPromise(this, "forceDisconnect", 1);
    withPromise(this, "forceUnpublish", 1);
  }

  isConnected() {
    return this._connected;
  }

  connect(token, callback) {
    if (this._connected || this._line) {
      fail(callback, otError("OT_INVALID_PARAMETER", "the session is connected, or connecting, already", 1006), this);
      return this;
    }
    if (typeof this.sessionId !== "string" || !this.sessionId) {
      fail(callback, otError("OT_INVALID_SESSION_ID", "OT.initSession() needs a session id"), this);
      return this;
    }
    if (typeof token !== "string" || !token) {
      fail(callback, otError("OT_AUTHENTICATION_ERROR", "connect() needs a token"), this);
      return this;
    }
    const line = this._newLine();
    this._line = line;
    this._farewell = null;
    window.addEventListener("pagehide", this._leave);
    line.connect({ sessionId: this.sessionId, project: String(this.apiKey), token }).then(
      (answer) => this._entered(answer, callback),
      (error) => {
        if (this._line === line) this._closed();
        fail(callback, asOtError(error, "OT_CONNECT_FAILED"), this);
      },
    );
    return this;
  }

  disconnect() {
    if (!this._line) return;
    this._farewell = this._line.leave();
    this._closed();
    if (this._connected) queueMicrotask(() => this._left("clientDisconnected"));
  }

  // publish(publisher, callback), publish(target, properties, callback), publish(undefined, properties, callback)
  publish(first, properties, callback) {
    const given = first instanceof Publisher;
    const done = [properties, callback].find((each) => typeof each === "function");
    const refusal = this._refusal("publish", UNABLE_TO_PUBLISH, "publish: the role must be publisher or moderator");
    if (refusal) {
      fail(done, refusal, this);
      return given ? first : undefined;
    }
    const publisher = given ? first : new Publisher(first, typeof properties === "object" ? properties ?? {} : {});
    if (publisher.session || publisher._gone) {
      const why = publisher._gone ? "was destroyed" : "is published already";
      fail(done, otError("OT_INVALID_PARAMETER", `the publisher ${why}`, UNABLE_TO_PUBLISH), publisher);
      return publisher;
    }
    publisher.session = this;
    this._publishers.add(publisher);
    publisher._publish(this).then(
      (stream) => this._published(publisher, stream, done),
      (error) => this._notPublished(publisher, error, done),
    );
    return publisher;
  }

  unpublish(publisher) {
    if (publisher instanceof Publisher && publisher.session === this) {
      this._unpublished(publisher, "clientDisconnected");
    }
  }

  // subscribe(stream, target, properties, callback); target and properties may be left out.
  subscribe(stream, target, properties, callback) {
    const done = [target, properties, callback].find((each) => typeof each === "function");
    const wishes = [target, properties].find((each) => each && typeof each === "object" && !(each instanceof Node));
    if (!(stream instanceof Stream)) {
      fail(done, otError("OT_INVALID_PARAMETER", "subscribe() needs the stream of a streamCreated event"), this);
      return undefined;
    }
    const refusal = this._refusal("subscribe", UNABLE_TO_SUBSCRIBE, "subscribe");
    if (refusal) {
      fail(done, refusal, this);
      return undefined;
    }
    const place = typeof target === "string" || target instanceof Node ? target : undefined;
    const subscriber = new Subscriber(this, stream, place, wishes ?? {});
    this._subscribers.add(subscriber);
    subscriber._subscribe().then(
      () => succeed(done),
      (cause) => {
        subscriber._destroy("networkDisconnected");
        fail(done, subscribeError(cause), subscriber);
      },
    );
    return subscriber;
  }

  unsubscribe(subscriber) {
    if (subscriber instanceof Subscriber && subscriber.session === this) subscriber._destroy();
  }

  // signal({ type, data, to, retryAfterReconnect }, callback)
  signal(signal, callback) {
    const refused = (error) => fail(callback, Object.assign(error, { signal }), this);
    const wrong = signalProblem(signal);
    if (!this._connected) refused(otError("OT_NOT_CONNECTED", "connect() to the session first", 500));
    else if (wrong) refused(wrong);
    else if (this._line.reconnecting && signal.retryAfterReconnect === false) {
      refused(otError("OT_NOT_CONNECTED", "the session is reconnecting", 500));
    } else {
      const { type, data, to } = signal;
      this._ask("signal", { type, data, to: idOf(to, "connectionId") })
        .then(() => succeed(callback), (error) => refused(signalError(error)));
    }
    return this;
  }

  forceDisconnect(connection, callback) {
    const connectionId = idOf(connection, "connectionId");
    this._moderate("forceDisconnect", "force-disconnect", { connectionId }, UNABLE_TO_FORCE_DISCONNECT)
      .then(() => succeed(callback), (error) => fail(callback, error, this));
    return this;
  }

  forceUnpublish(stream, callback) {
    const streamId = idOf(stream, "streamId");
    this._moderate("forceUnpublish", "force-unpublish", { streamId }, UNABLE_TO_FORCE_UNPUBLISH)
      .then(() => succeed(callback), (error) => fail(callback, error, this));
    return this;
  }

  async forceMuteStream(stream) {
    const streamId = idOf(stream, "streamId");
    await this._moderate("forceMute", "force-mute", { streamId }, UNABLE_TO_FORCE_MUTE);
  }

  async forceMuteAll(excludedStreams = []) {
    const excludedStreamIds = [...excludedStreams].map((each) => idOf(each, "streamId"));
    await this._moderate("forceMute", "force-mute-all", { excludedStreamIds }, UNABLE_TO_FORCE_MUTE);
  }

  async disableForceMute() {
    await this._moderate("forceMute", "disable-force-mute", {}, UNABLE_TO_FORCE_MUTE);
  }

  // Everybody, this page too, hears of the change as streamPropertyChanged.
  _update(stream, change) {
    return this._ask("update", { streamId: stream.streamId, ...change });
  }

  // Why a call cannot be made now, if so.
  _refusal(capability, code, what) {
    if (!this._connected) return otError("OT_NOT_CONNECTED", "connect() to the session first");
    if (!this.capabilities[capability]) {
      return otError("OT_PERMISSION_DENIED", `this token does not allow to ${what}`, code);
    }
    return null;
  }

  async _moderate(capability, what, fields, code) {
    const refusal = this._refusal(capability, code, `${capability}: the role must be moderator`);
    if (refusal) throw refusal;
    await this._ask(what, fields);
  }

  _closed() {
    this._line = null;
    window.removeEventListener("pagehide", this._leave);
  }

  _newLine() {
    return new Line(signallingUrl(), {
      news: (message) => this._heard(message),
      reconnecting: () => this._tell(new OtEvent("sessionReconnecting")),
      reconnected: (answer) => this._back(answer),
      gone: (reason) => {
        this._closed();
        this._left(reason);
      },
    });
  }
}

// The same reason has another code than for a publisher.
function subscribeError(cause) {
  const error = asOtError(cause, "OT_CREATE_PEER_CONNECTION_FAILED");
  if (error.name === "OT_ICE_WORKFLOW_FAILED") error.code = SUBSCRIBER_ICE_FAILED;
  if (error.name === "OT_TIMEOUT" || error.name === "OT_STREAM_NOT_FOUND") error.code = UNABLE_TO_SUBSCRIBE;
  return error;
}
