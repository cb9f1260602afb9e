// The errors a page meets: the vendor's names, the numeric codes of its reference, and messages that say what to do.
//
// A page is told to compare `name`; `code` is kept because older pages compare that. One name can have several codes:
// the code says which call failed (1500 publish, 1501 subscribe, 1520 forceDisconnect, 1530 forceUnpublish ...).

const CODE_OF = {
  OT_AUTHENTICATION_ERROR: 1004,
  OT_INVALID_SESSION_ID: 1005,
  OT_CONNECT_FAILED: 1006,
  OT_NOT_CONNECTED: 1010,
  OT_DISCONNECTED: 1010,
  OT_INVALID_PARAMETER: 1011,
  OT_CREATE_PEER_CONNECTION_FAILED: 1013,
  OT_PERMISSION_DENIED: 1500,
  OT_USER_MEDIA_ACCESS_DENIED: 1500,
  OT_NO_DEVICES_FOUND: 1500,
  OT_HARDWARE_UNAVAILABLE: 1500,
  OT_CONSTRAINTS_NOT_SATISFIED: 1500,
  OT_NO_VALID_CONSTRAINTS: 1500,
  OT_NOT_SUPPORTED: 1500,
  OT_UNABLE_TO_CAPTURE_MEDIA: 1500,
  OT_UNABLE_TO_CAPTURE_SCREEN: 1500,
  OT_TIMEOUT: 1008,
  OT_STREAM_DESTROYED: 1501,
  OT_MEDIA_ERR_ABORTED: 2000,
};

const UNABLE_TO_PUBLISH = 1500;
const UNABLE_TO_SUBSCRIBE = 1501;
const UNABLE_TO_FORCE_DISCONNECT = 1520;
const UNABLE_TO_FORCE_UNPUBLISH = 1530;
const UNABLE_TO_FORCE_MUTE = 1540;
const PUBLISHER_ICE_FAILED = 1553;
const SUBSCRIBER_ICE_FAILED = 1554;
const INTERNAL_ERROR = 2000;

const TITLE_OF = {
  1004: "Authentication error",
  1005: "Invalid Session ID",
  1006: "Connect Failed",
  1008: "Connect Time-out",
  1010: "Not Connected",
  1011: "Invalid Parameter",
  1013: "Connection Failed",
  1500: "Unable to Publish",
  1520: "Unable to Force Disconnect",
  1530: "Unable to Force Unpublish",
  1535: "Force Unpublish on Invalid Stream",
  2000: "Internal Error",
};

function otError(name, message, code = CODE_OF[name] ?? INTERNAL_ERROR) {
  const error = new Error(message);
  error.name = name;
  error.code = code;
  return error;
}

// What the browser said when a microphone, camera or screen was asked for (W3C Media Capture and Streams, 10.3.1).
const CAPTURE_ERRORS = {
  NotAllowedError: ["OT_USER_MEDIA_ACCESS_DENIED", "Publisher Access Denied: Permission Denied: allow the "
    + "microphone and the camera for this page in the browser, then publish again"],
  SecurityError: ["OT_USER_MEDIA_ACCESS_DENIED", "Publisher Access Denied: this page may not use the microphone and "
    + "the camera"],
  NotFoundError: ["OT_NO_DEVICES_FOUND", "No microphone or camera was found: connect one, or publish without it "
    + "(videoSource: null or audioSource: null)"],
  NotReadableError: ["OT_HARDWARE_UNAVAILABLE", "The microphone or camera cannot be opened: another program may be "
    + "using it"],
  AbortError: ["OT_HARDWARE_UNAVAILABLE", "The microphone or camera stopped before it could be used"],
  OverconstrainedError: ["OT_CONSTRAINTS_NOT_SATISFIED", "No microphone or camera is what was asked for: see "
    + "OT.getDevices() for those there are"],
  TypeError: ["OT_NO_VALID_CONSTRAINTS", "Neither audio nor video was asked for"],
};

function captureError(cause) {
  if (typeof cause?.code === "number" && cause.name?.startsWith("OT_")) return cause;
  const [name, message] = CAPTURE_ERRORS[cause?.name]
    ?? ["OT_UNABLE_TO_CAPTURE_MEDIA", `The microphone or camera cannot be used (${cause?.name ?? "unknown reason"})`];
  const error = otError(name, message);
  error.originalMessage = cause?.message;
  error.originalName = cause?.name;
  return error;
}

// What the browser says never names the page's own mistake, so an unexpected error keeps its text.
function asOtError(cause, name, code) {
  return typeof cause?.code === "number" && cause.name?.startsWith("OT_")
    ? cause
    : otError(name, cause?.message ?? String(cause), code);
}
