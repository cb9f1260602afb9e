// One RTCPeerConnection: it sends one stream or receives one. The browser offers, the sandbox answers.
//
// No candidates are trickled: the answer holds the sandbox's only address, and the sandbox learns ours from the first
// connectivity check (RFC 8445, peer-reflexive), so an offer is sent before any candidate is gathered.

const CONNECT_WITHIN = 15_000;

// PCMU is what the phone legs speak; VP8 is what the sandbox forwards.
const FIRST_CODEC = { audio: "audio/PCMU", video: "video/VP8" };

class Peer {
  // `changed(state)` hears each RTCPeerConnection.connectionState after the first "connected".
  constructor(changed) {
    this._changed = changed;
    this._up = false;
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.connected = new Promise((resolve, reject) => {
      this._resolve = resolve;
      this._reject = reject;
    });
    this.connected.catch(() => {});
    this.pc.onconnectionstatechange = () => this._stateChanged();
  }

  send(track, stream) {
    const transceiver = this.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    preferCodec(transceiver, track.kind);
    return transceiver.sender;
  }

  receive(kind) {
    const transceiver = this.pc.addTransceiver(kind, { direction: "recvonly" });
    preferCodec(transceiver, kind);
    return transceiver.receiver;
  }

  async offer() {
    await this.pc.setLocalDescription();
    return this.pc.localDescription.sdp;
  }

  // Take the answer, and wait until media can flow.
  async accept(sdp) {
    await this.pc.setRemoteDescription({ type: "answer", sdp });
    this._late = setTimeout(
      () => this._reject(otError("OT_TIMEOUT", `no media connection in ${CONNECT_WITHIN / 1000} s: does a firewall or `
        + "a browser extension block UDP, or is this computer on no network at all (any will do)? Firefox connects to "
        + "the sandbox only with media.peerconnection.ice.loopback set in about:config")),
      CONNECT_WITHIN,
    );
    await this.connected;
  }

  close() {
    clearTimeout(this._late);
    this.pc.onconnectionstatechange = null;
    this.pc.close();
    this._reject(otError("OT_DISCONNECTED", "the media connection was closed"));
  }

  _stateChanged() {
    const state = this.pc.connectionState;
    if (!this._up && state === "failed") {
      this._reject(otError("OT_ICE_WORKFLOW_FAILED", "the media connection failed: does a firewall block UDP?"));
    }
    if (!this._up && state !== "connected") return;
    const first = !this._up;
    this._up = true;
    clearTimeout(this._late);
    this._resolve();
    if (!first) this._changed(state);
  }
}

function preferCodec(transceiver, kind) {
  const codecs = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const first = FIRST_CODEC[kind].toLowerCase();
  const preferred = codecs.filter((codec) => codec.mimeType.toLowerCase() === first);
  if (!preferred.length || !transceiver.setCodecPreferences) return;
  transceiver.setCodecPreferences([...preferred, ...codecs.filter((codec) => !preferred.includes(codec))]);
}

// What the vendor's getStats() tells of one direction, from the browser's report.
function figures(report, direction) {
  const outbound = direction === "sent";
  const found = { timestamp: Date.now() };
  for (const each of report.values()) {
    if (each.type !== (outbound ? "outbound-rtp" : "inbound-rtp")) continue;
    const kind = outbound
      ? { bytesSent: each.bytesSent, packetsSent: each.packetsSent, packetsLost: 0 }
      : { bytesReceived: each.bytesReceived, packetsReceived: each.packetsReceived, packetsLost: each.packetsLost };
    if (each.kind === "video") kind.frameRate = each.framesPerSecond ?? 0;
    found[each.kind] = kind;
  }
  for (const each of report.values()) {
    if (outbound && each.type === "remote-inbound-rtp" && found[each.kind]) {
      found[each.kind].packetsLost = each.packetsLost;
    }
  }
  return found;
}
