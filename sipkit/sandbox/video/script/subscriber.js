// A subscriber: one stream of somebody else, received and played in the page.

// Those whose sound the browser holds back until somebody clicks (autoplay policy).
const blockedSubscribers = new Set();

class Subscriber extends Boxed {
  constructor(session, stream, target, properties) {
    super("subscriber", target, properties);
    this.session = session;
    this.stream = stream;
    this._wants = { audio: properties.subscribeToAudio ?? true, video: properties.subscribeToVideo ?? true };
    this._volume = volumeOf(properties.audioVolume ?? 100);
    this._media = new MediaStream();
    this._audioTrack = null;
    this._subscriptionId = null;
    this._blocked = false;
    withPromise(this, "subscribeToAudio", 1);
    withPromise(this, "subscribeToVideo", 1);
    this._view.dressControls(stream.name, [{
      label: () => "Mute sound",
      pressed: () => this._muted,
      press: () => this.subscribeToAudio(!this._wants.audio),
    }]);
  }

  subscribeToAudio(value, callback) {
    this._choose("audio", value, callback);
    this._applySound();
    return this;
  }

  subscribeToVideo(value, callback) {
    const before = this._wants.video;
    this._choose("video", value, callback);
    if (before !== this._wants.video && this.stream.hasVideo) {
      this._videoSwitched(this._wants.video, "subscribeToVideo");
    }
    return this;
  }

  setAudioVolume(value) {
    this._volume = volumeOf(value);
    this._applySound();
    return this;
  }

  getAudioVolume() {
    return this._volume;
  }

  isAudioBlocked() {
    return this._blocked;
  }

  getStats(callback) {
    const asked = this._peer
      ? this._peer.pc.getStats().then((report) => figures(report, "received"))
      : Promise.reject(otError("OT_NOT_CONNECTED", "the subscriber receives nothing"));
    return settle(asked, callback);
  }

  async getRtcStatsReport() {
    if (!this._peer) throw otError("OT_NOT_CONNECTED", "the subscriber receives nothing");
    return this._peer.pc.getStats();
  }

  get _muted() {
    return !this._wants.audio || this._blocked;
  }

  // Receive: resolves once media flows.
  async _subscribe() {
    this._peer = new Peer((state) => this._peerChanged(state));
    const peer = this._peer;
    peer.pc.ontrack = ({ track }) => this._received(track);
    peer.receive("audio");
    if (this.stream.videoType) peer.receive("video");
    const offer = await peer.offer();
    const { subscriptionId, answer } = await this.session._ask("subscribe", { streamId: this.stream.streamId, offer });
    if (this._gone) {
      this.session._ask("unsubscribe", { subscriptionId }).catch(() => {});
      throw otError("OT_STREAM_DESTROYED", "the subscriber ended before it was connected");
    }
    this._subscriptionId = subscriptionId;
    if (!this._wants.audio || !this._wants.video) await this._tellChoice();
    await peer.accept(answer);
    this._tell(new OtEvent("connected"));
  }

  _received(track) {
    this._media.addTrack(track);
    if (track.kind === "audio") {
      this._audioTrack = track;
      this._level.follow(track);
    }
    const fit = this.stream.videoType === "screen" ? "contain" : "cover";
    const made = this._view.show(this._media, { muted: this._muted, mirrored: false, fit });
    this._applySound();
    if (made) this._tell(new OtEvent("videoElementCreated", { element: this._view.video }));
    this._play();
  }

  // Play; when the browser wants a click first, play without sound and offer the click.
  async _play() {
    const { video } = this._view;
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError" || this._gone) return;
      this._setBlocked(true);
      video.play().catch(() => {});
    }
  }

  async _unblock() {
    const { video } = this._view;
    if (!video) return;
    // Muted playing is let go again only when unmuting succeeds, which the browser tells by playing on.
    video.muted = !this._wants.audio;
    try {
      await video.play();
    } catch (error) {
      this._applySound();
      video.play().catch(() => {});
      throw error;
    }
    if (!this._gone) this._setBlocked(false);
  }

  _setBlocked(blocked) {
    if (this._blocked === blocked) return;
    this._blocked = blocked;
    this._applySound();
    if (blocked) {
      blockedSubscribers.add(this);
      this._view.offerSound(() => unblockAudio().catch(() => {}));
    } else {
      blockedSubscribers.delete(this);
      this._view.hideSoundOffer();
    }
    this._tell(new OtEvent(blocked ? "audioBlocked" : "audioUnblocked"));
  }

  _applySound() {
    const { video } = this._view;
    if (video) {
      video.muted = this._muted;
      video.volume = this._volume / 100;
    }
    this._view.refresh();
  }

  // Ask the router to stop or resume forwarding a kind: what is not wanted is not sent.
  _choose(kind, value, callback) {
    this._wants[kind] = Boolean(value);
    if (!this._subscriptionId) {
      succeed(callback);
      return;
    }
    this._tellChoice().then(() => succeed(callback), (error) => fail(callback, error, this));
  }

  async _tellChoice() {
    await this.session._ask("choose", { subscriptionId: this._subscriptionId, ...this._wants });
  }

  _peerChanged(state) {
    if (state === "connected") this._tell(new OtEvent("connected"));
    else if (state === "disconnected") this._tell(new OtEvent("disconnected"));
    else if (state === "failed" || state === "closed") this._destroy("networkDisconnected");
  }

  _streamChanged(property, oldValue, newValue) {
    if (property === "hasVideo" && this._wants.video) this._videoSwitched(newValue, "publishVideo");
    if (property === "videoDimensions") {
      this._tell(new OtEvent("videoDimensionsChanged", { oldValue, newValue }));
    }
  }

  _videoSwitched(on, reason) {
    if (this._view.video && this.element) this._view.video.style.visibility = on ? "" : "hidden";
    this._tell(new OtEvent(on ? "videoEnabled" : "videoDisabled", { reason }));
  }

  // `reason` says why when it was not the page; the vendor's "destroyed" has none, so it is an extra.
  _destroy(reason) {
    if (this._gone) return;
    this._gone = true;
    this.session._unsubscribed(this);
    if (this._subscriptionId) {
      this.session._ask("unsubscribe", { subscriptionId: this._subscriptionId }).catch(() => {});
    }
    this._peer?.close();
    this._peer = null;
    this._level.follow(null);
    blockedSubscribers.delete(this);
    for (const track of this._media.getTracks()) track.stop();
    this._view.remove();
    this._tell(new OtEvent("destroyed", { reason }));
    this.off();
  }
}

function volumeOf(value) {
  return Math.min(100, Math.max(0, Number(value) || 0));
}

// Called in a click: give every held-back subscriber its sound.
async function unblockAudio() {
  wakeMeters();
  try {
    await Promise.all([...blockedSubscribers].map((each) => each._unblock()));
  } catch (cause) {
    throw otError("OT_NOT_SUPPORTED", `the browser still holds the sound back (${cause.name}): call OT.unblockAudio() `
      + "in a click");
  }
}
