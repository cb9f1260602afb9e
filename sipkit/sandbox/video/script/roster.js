// Who and what is in a session, kept true by the server's news, and told to the page as the vendor's events.

class Roster extends EventDispatcher {
  constructor() {
    super();
    // All undefined until connected, as documented.
    this.capabilities = {};
    this.connection = undefined;
    this.connections = new Collection();
    this.streams = new Collection();
    this._publishers = new Set();
    this._subscribers = new Set();
    this._line = null;
    // While the session ends: settled once the server knows.
    this._farewell = null;
    this._connected = false;
  }

  getPublisherForStream(stream) {
    return [...this._publishers].find((each) => each.stream && each.stream.streamId === idOf(stream, "streamId"));
  }

  getSubscribersForStream(stream) {
    return [...this._subscribers].filter((each) => each.stream.streamId === idOf(stream, "streamId"));
  }

  _ask(what, fields) {
    return this._line ? this._line.ask(what, fields) : Promise.reject(cut());
  }

  _entered(answer, callback) {
    this._connected = true;
    this.capabilities = answer.capabilities;
    this.connection = this.connections._add(new Connection(answer.connection));
    this._tell(new OtEvent("sessionConnected", { connections: [], streams: [] }));
    succeed(callback);
    this._tell(new OtEvent("connectionCreated", { connection: this.connection }));
    for (const each of answer.connections) this._connectionCreated(each);
    for (const each of answer.streams) this._streamCreated(each);
  }

  // Tell the end: own streams first, then the session; by default all subscribers go with it.
  _left(reason) {
    this._connected = false;
    for (const publisher of [...this._publishers]) this._unpublished(publisher, reason);
    this._tell(new OtEvent("sessionDisconnected", { reason }, true), () => {
      for (const subscriber of [...this._subscribers]) subscriber._destroy(reason);
    });
    this.connections = new Collection();
    this.streams = new Collection();
    this.connection = undefined;
    this.capabilities = {};
  }

  // Back after a lost socket: tell what happened meanwhile, then that we are back.
  _back(answer) {
    const here = new Set([this.connection.id, ...answer.connections.map((each) => each.connectionId)]);
    const live = new Set(answer.streams.map((each) => each.streamId));
    for (const stream of this.streams.where((each) => !live.has(each.id))) {
      this._streamDestroyed({ streamId: stream.id, reason: "clientDisconnected" });
    }
    for (const connection of this.connections.where((each) => !here.has(each.id))) {
      this._connectionDestroyed({ connectionId: connection.id, reason: "clientDisconnected" });
    }
    for (const each of answer.connections) this._connectionCreated(each);
    for (const each of answer.streams) {
      if (this.streams.has(each.streamId)) this._streamRefreshed(each);
      else this._streamCreated(each);
    }
    for (const publisher of [...this._publishers]) {
      if (publisher.stream && !live.has(publisher.stream.streamId)) {
        this._unpublished(publisher, "networkDisconnected", true);
      }
    }
    this._tell(new OtEvent("sessionReconnected"));
  }

  _heard(message) {
    const hear = {
      connectionCreated: () => this._connectionCreated(message.connection),
      connectionDestroyed: () => this._connectionDestroyed(message),
      streamCreated: () => this._streamCreated(message.stream),
      streamDestroyed: () => this._streamDestroyed(message),
      streamPropertyChanged: () => this._streamPropertyChanged(message),
      signal: () => this._signalled(message),
      muteForced: () => this._muteForced(message),
    }[message.event];
    hear?.();
  }

  _connectionCreated(told) {
    if (this.connections.has(told.connectionId)) return;
    const connection = this.connections._add(new Connection(told));
    this._tell(new OtEvent("connectionCreated", { connection }));
  }

  _connectionDestroyed({ connectionId, reason }) {
    const connection = this.connections._remove(connectionId);
    if (connection) this._tell(new OtEvent("connectionDestroyed", { connection, reason }));
  }

  // Only of others: one's own stream is told by the publisher.
  _streamCreated(told) {
    const { connectionId } = told.connection;
    if (connectionId === this.connection.id || this.streams.has(told.streamId)) return;
    if (!this.connections.has(connectionId)) this._connectionCreated(told.connection);
    const stream = this.streams._add(new Stream(told, this.connections.get(connectionId)));
    this._tell(new OtEvent("streamCreated", { stream }));
  }

  _streamDestroyed({ streamId, reason }) {
    const own = [...this._publishers].find((each) => each._streamId === streamId);
    if (own) {
      this._unpublished(own, reason, true);
      return;
    }
    const stream = this.streams._remove(streamId);
    if (!stream) return;
    this._tell(new OtEvent("streamDestroyed", { stream, reason }, true), () => {
      for (const subscriber of this.getSubscribersForStream(stream)) subscriber._destroy(reason);
    });
  }

  _streamPropertyChanged({ streamId, property, oldValue, newValue }) {
    const own = [...this._publishers].find((each) => each.stream?.streamId === streamId);
    const stream = own?.stream ?? this.streams.get(streamId);
    if (!stream) return;
    stream[property] = newValue;
    const change = { stream, changedProperty: property, oldValue, newValue };
    this._tell(new OtEvent("streamPropertyChanged", change));
    stream._tell(new OtEvent("streamPropertyChanged", change));
    if (own && property === "videoDimensions") {
      own._tell(new OtEvent("videoDimensionsChanged", { oldValue, newValue }));
    }
    for (const subscriber of this.getSubscribersForStream(stream)) {
      subscriber._streamChanged(property, oldValue, newValue);
    }
  }

  _streamRefreshed(told) {
    const stream = this.streams.get(told.streamId);
    for (const property of ["hasAudio", "hasVideo", "videoDimensions"]) {
      const [oldValue, newValue] = [stream[property], told[property]];
      if (JSON.stringify(oldValue) !== JSON.stringify(newValue)) {
        this._streamPropertyChanged({ streamId: told.streamId, property, oldValue, newValue });
      }
    }
  }

  // Both "signal" and "signal:TYPE" hear a signal that has a type. `from` is null when the project's server sent it.
  _signalled({ type, data, from }) {
    const details = { data, from: from ? this.connections.get(from) ?? null : null };
    const event = new OtEvent(type ? `signal:${type}` : "signal", details);
    event.target = this;
    this._tell(event, undefined, "signal");
    if (type) this._tell(event);
  }

  _muteForced({ active, streamIds }) {
    if (active) {
      for (const publisher of this._publishers) {
        if (!streamIds || streamIds.includes(publisher._streamId)) publisher._forceMute();
      }
    }
    this._tell(new OtEvent("muteForced", { active }));
  }

  _published(publisher, stream, done) {
    publisher.stream = stream;
    publisher._catchUp();
    publisher._tell(new OtEvent("streamCreated", { stream }));
    succeed(done);
  }

  _notPublished(publisher, cause, done) {
    // Ended from outside: by unpublish(), destroy() or the end of the session, which told it already.
    if (publisher.session === this) {
      this._publishers.delete(publisher);
      publisher.session = null;
      const streamId = publisher._streamId;
      publisher._streamId = null;
      publisher._stopSending(streamId ? this._ask("unpublish", { streamId }) : Promise.resolve());
    }
    fail(done, publishError(cause), publisher);
  }

  // A publisher stops; told as its streamDestroyed, which by default destroys the publisher.
  _unpublished(publisher, reason, serverKnows = false) {
    const { stream, _streamId: streamId } = publisher;
    this._publishers.delete(publisher);
    publisher.session = null;
    publisher.stream = null;
    publisher._streamId = null;
    const known = serverKnows || !streamId;
    // Only a device's end is told; of the rest the server knows more than the page.
    const why = reason === "mediaStopped" ? { reason } : {};
    publisher._stopSending(known ? Promise.resolve() : this._farewell ?? this._ask("unpublish", { streamId, ...why }));
    if (stream) {
      publisher._tell(new OtEvent("streamDestroyed", { stream, reason }, true), () => publisher.destroy());
      for (const subscriber of this.getSubscribersForStream(stream)) subscriber._destroy(reason);
    }
  }

  _unsubscribed(subscriber) {
    this._subscribers.delete(subscriber);
  }
}

// The same reason has another code for a publisher than for a subscriber.
function publishError(cause) {
  const error = asOtError(cause, "OT_CREATE_PEER_CONNECTION_FAILED", UNABLE_TO_PUBLISH);
  if (error.name === "OT_ICE_WORKFLOW_FAILED") error.code = PUBLISHER_ICE_FAILED;
  if (error.name === "OT_TIMEOUT") error.code = UNABLE_TO_PUBLISH;
  return error;
}
