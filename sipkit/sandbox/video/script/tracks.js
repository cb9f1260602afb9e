// The tracks a publisher sends: the page's own or opened here, switched on or off, each with its sender.

class LocalTracks {
  // `ended(track)` hears of a track that stopped by itself.
  constructor({ publishAudio = true, publishVideo = true }, ended) {
    this.audio = { track: null, on: publishAudio, sender: null };
    this.video = { track: null, on: publishVideo, sender: null };
    this.media = new MediaStream();
    this._owned = new Set();
    this._ended = ended;
    this._released = false;
  }

  get sides() {
    return [this.audio, this.video].filter((side) => side.track);
  }

  get alive() {
    return this.sides.some((side) => side.track.readyState === "live");
  }

  // Take what capture() gave.
  take({ audio, video, owned }) {
    for (const track of owned) this._owned.add(track);
    if (audio) this._follow(this.audio, audio);
    if (video) this._follow(this.video, video);
  }

  turn(side, on) {
    side.on = on;
    if (side.track) side.track.enabled = on;
  }

  // Put another track in a side's place; the other end notices nothing but the new sound or picture.
  async replace(side, track, owned) {
    await side.sender?.replaceTrack(track);
    if (this._released) {
      if (owned) track.stop();
      return;
    }
    const old = side.track;
    this.media.removeTrack(old);
    old.onended = null;
    if (this._owned.delete(old)) old.stop();
    if (owned) this._owned.add(track);
    this._follow(side, track);
  }

  sendOver(peer) {
    for (const side of this.sides) side.sender = peer.send(side.track, this.media);
  }

  stopSending() {
    for (const side of this.sides) side.sender = null;
  }

  // Let go of everything, and stop what was opened here.
  release() {
    this._released = true;
    for (const { track } of this.sides) track.onended = null;
    for (const track of this._owned) track.stop();
    this._owned.clear();
  }

  _follow(side, track) {
    side.track = track;
    this.media.addTrack(track);
    track.enabled = side.on;
    track.onended = () => this._ended(track);
  }
}
