// What a session holds: connections (the people), streams (what they publish), and the collections of both.

class Connection {
  constructor({ connectionId, creationTime, data }) {
    this.connectionId = connectionId;
    this.id = connectionId;
    this.creationTime = creationTime;
    this.data = data ?? "";
  }
}

// hasAudio, hasVideo and videoDimensions change; "streamPropertyChanged" tells it here and on the session.
class Stream extends EventDispatcher {
  constructor(told, connection) {
    super();
    this.streamId = told.streamId;
    this.id = told.streamId;
    this.connection = connection;
    this.name = told.name ?? "";
    this.hasAudio = told.hasAudio;
    this.hasVideo = told.hasVideo;
    // Undefined when there never was a picture: a caller by phone.
    this.videoType = told.videoType ?? undefined;
    this.videoDimensions = told.videoDimensions ?? { width: 0, height: 0 };
    this.frameRate = told.frameRate;
    this.creationTime = told.creationTime;
  }
}

class Collection {
  constructor() {
    this._members = new Map();
  }

  get(id) {
    return this._members.get(id);
  }

  has(id) {
    return this._members.has(id);
  }

  forEach(visit, context) {
    [...this._members.values()].forEach(visit, context);
  }

  // where({ name: "x" }) or where((member) => boolean)
  where(wanted) {
    const fits = typeof wanted === "function"
      ? wanted
      : (member) => Object.entries(wanted).every(([key, value]) => member[key] === value);
    return [...this._members.values()].filter(fits);
  }

  find(wanted) {
    return this.where(wanted)[0];
  }

  length() {
    return this._members.size;
  }

  _add(member) {
    this._members.set(member.id, member);
    return member;
  }

  _remove(id) {
    const member = this._members.get(id);
    this._members.delete(id);
    return member;
  }
}
