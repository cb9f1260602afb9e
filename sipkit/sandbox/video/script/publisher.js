// A publisher: the page's own microphone, camera, screen or tracks, shown in the page and sent into a session.
//
// It lives from OT.initPublisher() to destroy(); it is published for a part of that, perhaps several times.

// A prompt is assumed to be open when the browser has not answered this long; there is no way to know.
const PROMPT_AFTER = 500;

class Publisher extends Boxed {
  constructor(target, properties, callback) {
    super("publisher", target, properties);
    this.accessAllowed = false;
    this.stream = null;
    this.session = null;
    this._tracks = new LocalTracks(this._properties, (track) => this._ended(track));
    withPromise(this, "publishAudio", 1);
    withPromise(this, "publishVideo", 1);
    this._view.dressControls(this._properties.name ?? "", [{
      label: () => "Mute microphone",
      pressed: () => !this._tracks.audio.on,
      press: () => this.publishAudio(!this._tracks.audio.on),
    }]);
    this._ready = this._open();
    this._ready.then(() => succeed(callback), (error) => {
      fail(callback, error, this);
    });
  }

  publishAudio(value, callback) {
    this._switch(this._tracks.audio, "hasAudio", value, callback);
    return this;
  }

  publishVideo(value, callback) {
    this._switch(this._tracks.video, "hasVideo", value, callback);
    return this;
  }

  getAudioSource() {
    return this._tracks.audio.track;
  }

  getVideoSource() {
    const { track } = this._tracks.video;
    const type = track ? this._videoType() : null;
    return { deviceId: type === "camera" ? track.getSettings().deviceId ?? null : null, type, track };
  }

  // Send another microphone (device id) or the page's own track.
  async setAudioSource(source) {
    if (!this._tracks.audio.track) throw otError("OT_NOT_SUPPORTED", "this publisher was made without audio");
    const track = isTrack(source)
      ? source
      : (await openDevices({ audio: audioConstraints(this._properties, source) }))[0];
    await this._tracks.replace(this._tracks.audio, track, !isTrack(source));
    this._level.follow(track);
  }

  // Send another camera (device id).
  async setVideoSource(deviceId) {
    if (!this._tracks.video.track || this._videoType() !== "camera") {
      throw otError("OT_NOT_SUPPORTED", "this publisher does not send a camera");
    }
    const [track] = await openDevices({ video: videoConstraints(this._properties, deviceId) });
    await this._tracks.replace(this._tracks.video, track, true);
  }

  // Send the next camera; resolves with its { deviceId }.
  async cycleVideo() {
    const cameras = (await listDevices()).filter((device) => device.kind === "videoInput");
    const now = cameras.findIndex((camera) => camera.deviceId === this.getVideoSource().deviceId);
    const next = cameras[(now + 1) % cameras.length];
    if (!next) throw otError("OT_NO_DEVICES_FOUND", "no camera was found");
    await this.setVideoSource(next.deviceId);
    return { deviceId: next.deviceId };
  }

  getStats(callback) {
    const asked = this._peer
      ? this._peer.pc.getStats().then((report) => [{ stats: figures(report, "sent") }])
      : Promise.reject(otError("OT_NOT_CONNECTED", "the publisher is not publishing"));
    return settle(asked, callback);
  }

  async getRtcStatsReport() {
    if (!this._peer) throw otError("OT_NOT_CONNECTED", "the publisher is not publishing");
    return [{ rtcStatsReport: await this._peer.pc.getStats() }];
  }

  // Stop publishing, stop what was opened here, and leave the page.
  destroy() {
    if (this._gone) return this;
    this._gone = true;
    if (this.session) this.session._unpublished(this, "clientDisconnected");
    this._level.follow(null);
    this._tracks.release();
    this._view.remove();
    this._tell(new OtEvent("destroyed"));
    this.off();
    return this;
  }

  _videoType() {
    const { videoSource } = this._properties;
    if (isScreen(videoSource)) return "screen";
    return isTrack(videoSource) ? "custom" : "camera";
  }

  async _open() {
    const opened = await this._ask();
    if (this._gone) {
      for (const track of opened.owned) track.stop();
      throw otError("OT_MEDIA_ERR_ABORTED", "the publisher was destroyed before it was ready");
    }
    this.accessAllowed = true;
    this._tracks.take(opened);
    this._level.follow(opened.audio);
    if (opened.owned.length) this._tell(new OtEvent("accessAllowed"));
    this._show();
    unblockAudio().catch(() => {});
  }

  // Ask for the devices, and tell of the browser's question as far as it can be known.
  async _ask() {
    // Listeners are added after initPublisher() has returned.
    await null;
    let asking = false;
    const prompt = setTimeout(() => {
      asking = true;
      this._tell(new OtEvent("accessDialogOpened", {}, true));
    }, PROMPT_AFTER);
    const answered = () => {
      clearTimeout(prompt);
      if (asking) this._tell(new OtEvent("accessDialogClosed", {}, true));
    };
    try {
      const opened = await capture(this._properties);
      answered();
      return opened;
    } catch (error) {
      answered();
      if (error.name === "OT_USER_MEDIA_ACCESS_DENIED" && !this._gone) {
        this._tell(new OtEvent("accessDenied", { message: error.message }, true));
      }
      throw error;
    }
  }

  _show() {
    const camera = this._videoType() === "camera";
    const made = this._view.show(this._tracks.media, {
      muted: true,
      mirrored: this._properties.mirror ?? camera,
      fit: this._videoType() === "screen" ? "contain" : "cover",
    });
    this._view.video.play().catch(() => {});
    if (!made) return;
    this._view.video.onresize = () => this._catchUp();
    this._tell(new OtEvent("videoElementCreated", { element: this._view.video }));
  }

  // A device was unplugged, or sharing was stopped in the browser's own bar.
  _ended(track) {
    this._tell(new OtEvent("mediaStopped", { track }));
    const screenEnded = track.kind === "video" && this._videoType() === "screen";
    if (this.session && (screenEnded || !this._tracks.alive)) this.session._unpublished(this, "mediaStopped");
  }

  _switch(side, property, value, callback) {
    this._tracks.turn(side, Boolean(value));
    this._view.refresh();
    if (!this.stream || !side.track) {
      succeed(callback);
      return;
    }
    this.session._update(this.stream, { [property]: side.on }).then(
      () => succeed(callback),
      (error) => fail(callback, error, this),
    );
  }

  // Tell the session what differs from what it was told: switches and sizes changed while the stream was made.
  _catchUp() {
    if (!this.stream) return;
    const now = this._description();
    for (const property of ["hasAudio", "hasVideo", "videoDimensions"]) {
      if (JSON.stringify(now[property]) !== JSON.stringify(this.stream[property])) {
        this.session._update(this.stream, { [property]: now[property] }).catch(() => {});
      }
    }
  }

  // Muted by a moderator: as if the page had done it, and told apart.
  _forceMute() {
    if (!this._tracks.audio.on) return;
    this.publishAudio(false);
    this._tell(new OtEvent("muteForced"));
  }

  _description() {
    return {
      name: this._properties.name ?? "",
      hasAudio: Boolean(this._tracks.audio.track) && this._tracks.audio.on,
      hasVideo: Boolean(this._tracks.video.track) && this._tracks.video.on,
      videoType: this._tracks.video.track ? this._videoType() : null,
      videoDimensions: this._dimensions(),
    };
  }

  // A picture that was not drawn yet is said to have the size asked for; _catchUp() corrects it.
  _dimensions() {
    const { track } = this._tracks.video;
    if (!track) return { width: 0, height: 0 };
    const [width, height] = sizeOf(this._properties.resolution ?? DEFAULT_RESOLUTION);
    const settings = track.getSettings();
    return {
      width: this.videoWidth() ?? settings.width ?? width,
      height: this.videoHeight() ?? settings.height ?? height,
    };
  }

  // Send into the session: gives the stream once its media flows.
  async _publish(session) {
    await this._ready;
    if (this.session !== session) throw stopped();
    this._peer = new Peer((state) => this._peerChanged(state));
    const peer = this._peer;
    this._tracks.sendOver(peer);
    const offer = await peer.offer();
    const stream = this._description();
    const answer = await session._ask("publish", { stream, offer });
    this._streamId = answer.streamId;
    if (this._peer !== peer) {
      session._ask("unpublish", { streamId: answer.streamId }).catch(() => {});
      throw stopped();
    }
    await peer.accept(answer.answer);
    if (this._peer !== peer) throw stopped();
    return new Stream({ ...stream, ...answer, frameRate: this._properties.frameRate ?? 30 }, session.connection);
  }

  _peerChanged(state) {
    if (state === "failed" || state === "closed") this.session?._unpublished(this, "networkDisconnected");
  }

  // The sending ends; the picture and the devices stay for destroy() or another publish(). The media connection is
  // closed once the server was `told`: closed before, it would look like a lost network from there.
  _stopSending(told) {
    const peer = this._peer;
    const close = () => peer?.close();
    told.then(close, close);
    this._peer = null;
    this._tracks.stopSending();
  }
}

function stopped() {
  return otError("OT_DISCONNECTED", "the publisher stopped before it was published");
}
