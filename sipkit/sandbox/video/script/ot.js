// window.OT: what a page starts from.

const VERSION = "2.sandbox";

// A page is moved to the sandbox by changing this script's address alone, so that address says where the sandbox is.
const SCRIPT_URL = document.currentScript?.src || `${location.origin}/v2/js/opentok.js`;

function signallingUrl() {
  const url = new URL("../signalling", SCRIPT_URL);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  return url.href;
}

function canWebRtc() {
  return typeof RTCPeerConnection === "function" && typeof WebSocket === "function" && "addTransceiver"
    in RTCPeerConnection.prototype;
}

const OT = {
  NONE,
  ERROR,
  WARN,
  INFO,
  LOG,
  DEBUG,
  version: VERSION,
  properties: { version: VERSION, apiURL: new URL("/", SCRIPT_URL).origin, supportSSL: true },

  initSession(project, sessionId) {
    return new Session(project, sessionId);
  },

  // initPublisher(target, properties, callback); each may be left out.
  initPublisher(target, properties, callback) {
    const done = [target, properties, callback].find((each) => typeof each === "function");
    const wishes = [target, properties].find((each) => each && typeof each === "object" && !(each instanceof Node));
    const place = typeof target === "string" || target instanceof Node ? target : undefined;
    return new Publisher(place, wishes ?? {}, done);
  },

  getDevices(callback) {
    return settle(listDevices(), callback);
  },

  async getUserMedia(properties = {}) {
    const { audio, video } = await capture(properties);
    return new MediaStream([audio, video].filter(Boolean));
  },

  checkSystemRequirements() {
    return canWebRtc() ? 1 : 0;
  },

  async getSupportedCodecs() {
    return { videoEncoders: ["VP8"], videoDecoders: ["VP8"] };
  },

  checkScreenSharingCapability(callback) {
    const supported = typeof navigator.mediaDevices?.getDisplayMedia === "function";
    const sources = { screen: supported, window: supported, application: supported };
    const answer = { supported, supportedSources: sources };
    if (typeof callback !== "function") return Promise.resolve(answer);
    queueMicrotask(() => guarded(() => callback(answer)));
    return undefined;
  },

  // Asked by pages before they use a filter or encryption, which the sandbox does not have.
  hasMediaProcessorSupport() {
    return false;
  },

  hasEndToEndEncryptionSupport() {
    return false;
  },

  unblockAudio,
  setLogLevel,

  log(message) {
    log(LOG, message);
  },

  on(...wish) {
    exceptions.on(...wish);
    return OT;
  },

  once(...wish) {
    exceptions.once(...wish);
    return OT;
  },

  off(...wish) {
    exceptions.off(...wish);
    return OT;
  },
};

withPromise(OT, "initPublisher", 2);
window.OT = OT;
