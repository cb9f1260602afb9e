// Signals: what may be sent, and the HTTP-like codes the vendor gives their errors.

// Callers pass the object or its id.
function idOf(value, key) {
  return typeof value === "object" && value !== null ? value[key] : value ?? undefined;
}

// The vendor's codes for signals are those of HTTP.
function signalProblem(signal) {
  const { type, data, to } = signal ?? {};
  if (type !== undefined && (typeof type !== "string" || !/^[\w~-]*$/.test(type))) {
    return otError("OT_INVALID_PARAMETER", "a signal's type has only letters, digits, '-', '_' and '~'", 400);
  }
  if (data !== undefined && data !== null && typeof data !== "string") {
    return otError("OT_INVALID_PARAMETER", "a signal's data must be a string: use JSON.stringify()", 400);
  }
  if (to !== undefined && typeof idOf(to, "connectionId") !== "string") {
    return otError("OT_INVALID_PARAMETER", "a signal's `to` must be a connection", 400);
  }
  const bytes = (text) => new TextEncoder().encode(text ?? "").length;
  if (bytes(type) > 128 || bytes(data) > 8192) {
    return otError("OT_INVALID_PARAMETER", "a signal's type has up to 128 bytes and its data up to 8 kB", 413);
  }
  return null;
}

const SIGNAL_CODES = { OT_INVALID_PARAMETER: 400, OT_PERMISSION_DENIED: 403, OT_NOT_FOUND: 404, OT_NOT_CONNECTED: 500 };

function signalError(error) {
  error.code = SIGNAL_CODES[error.name] ?? error.code;
  return error;
}
