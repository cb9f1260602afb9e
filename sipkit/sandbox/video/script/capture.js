// Microphones, cameras and screens: what there is, and the tracks a publisher's properties ask for.

const DEFAULT_RESOLUTION = "640x480";
const SCREENS = new Set(["screen", "window", "application"]);
const KIND_OF = { audioinput: "audioInput", videoinput: "videoInput" };

async function listDevices() {
  if (!navigator.mediaDevices?.enumerateDevices) throw insecure();
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind in KIND_OF)
    .map(({ deviceId, kind, label }) => ({ deviceId, kind: KIND_OF[kind], label }));
}

// A page over plain http (other than localhost) has no navigator.mediaDevices at all.
function insecure() {
  return otError("OT_NOT_SUPPORTED", "a microphone or camera needs a page over https or on localhost");
}

// `undefined` and `true` are the default device, `null` and `false` none, a string a device id, a track itself.
function isWanted(source) {
  return source !== null && source !== false;
}

function isTrack(source) {
  return typeof MediaStreamTrack !== "undefined" && source instanceof MediaStreamTrack;
}

function isScreen(source) {
  return SCREENS.has(source);
}

function audioConstraints(properties, source = properties.audioSource) {
  const cleaned = properties.disableAudioProcessing !== true;
  const constraints = {
    echoCancellation: properties.echoCancellation ?? cleaned,
    noiseSuppression: properties.noiseSuppression ?? cleaned,
    autoGainControl: properties.autoGainControl ?? cleaned,
  };
  if (properties.enableStereo) constraints.channelCount = 2;
  if (typeof source === "string") constraints.deviceId = { exact: source };
  return constraints;
}

function videoConstraints(properties, source = properties.videoSource) {
  const [width, height] = sizeOf(properties.resolution ?? DEFAULT_RESOLUTION);
  const constraints = { width: { ideal: width }, height: { ideal: height } };
  if (properties.frameRate) constraints.frameRate = { ideal: properties.frameRate };
  if (properties.facingMode) constraints.facingMode = properties.facingMode;
  if (typeof source === "string") constraints.deviceId = { exact: source };
  return constraints;
}

function sizeOf(resolution) {
  const size = /^(\d{2,4})x(\d{2,4})$/.exec(resolution);
  if (!size) {
    throw otError("OT_INVALID_PARAMETER", `"${resolution}" is no resolution: write it as "640x480"`, UNABLE_TO_PUBLISH);
  }
  return [Number(size[1]), Number(size[2])];
}

// Capture what the properties ask for. Gives { audio, video, owned }: tracks or null, and those this script opened and
// will stop. The page's own tracks are used as they are and never stopped.
async function capture(properties) {
  const { audioSource, videoSource } = properties;
  if (!isWanted(audioSource) && !isWanted(videoSource)) {
    throw otError("OT_NO_VALID_CONSTRAINTS", "a publisher needs an audioSource or a videoSource");
  }
  const wish = {};
  if (isWanted(audioSource) && !isTrack(audioSource)) wish.audio = audioConstraints(properties);
  const wantsCamera = isWanted(videoSource) && !isTrack(videoSource) && !isScreen(videoSource);
  if (wantsCamera) wish.video = videoConstraints(properties);
  const owned = [];
  try {
    // The screen first: its picker needs the click that led here, and the microphone's prompt would use it up.
    if (isScreen(videoSource)) owned.push(...(await openScreen(properties)));
    if (wish.audio || wish.video) owned.push(...(await openDevices(wish)));
  } catch (error) {
    for (const track of owned) track.stop();
    throw error;
  }
  const opened = (kind) => owned.find((track) => track.kind === kind) ?? null;
  return {
    audio: isTrack(audioSource) ? audioSource : opened("audio"),
    video: isTrack(videoSource) ? videoSource : opened("video"),
    owned,
  };
}

async function openDevices(wish) {
  if (!navigator.mediaDevices?.getUserMedia) throw insecure();
  try {
    return (await navigator.mediaDevices.getUserMedia(wish)).getTracks();
  } catch (cause) {
    throw captureError(cause);
  }
}

async function openScreen(properties) {
  if (!navigator.mediaDevices?.getDisplayMedia) throw insecure();
  try {
    const video = properties.frameRate ? { frameRate: properties.frameRate } : true;
    return (await navigator.mediaDevices.getDisplayMedia({ video, audio: false })).getTracks();
  } catch (cause) {
    throw cause.name === "NotAllowedError"
      ? captureError(cause)
      : otError("OT_UNABLE_TO_CAPTURE_SCREEN", `The screen cannot be shared (${cause.name})`);
  }
}
