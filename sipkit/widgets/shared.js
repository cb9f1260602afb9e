// What several views are made of. face.py puts this in front of each view's own script, so it exports nothing.

const CALL_WORDS = {
  idle: "no call",
  dialing: "dialing …",
  connected: "connected",
  "hanging-up": "hanging up …",
  failed: "failed",
};

const CALL_MODES = {
  sandbox: "sandbox: free of charge",
  live: "live: calls are billed",
};

function add(parent, tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  parent.append(node);
  return node;
}

// Screen readers announce what changes, so nothing is written twice.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The title, the mode and the state, in words where there are some; `show` follows the model.
function drawHead(box, model, { title, states, modes = {} }) {
  const head = add(box, "div", "sipkit-head");
  add(head, "span", "sipkit-title", title);
  const chip = add(head, "span", "sipkit-chip");
  const state = add(head, "span", "sipkit-state");
  state.setAttribute("role", "status");
  const show = () => {
    const [mode, word] = [model.get("mode"), model.get("state")];
    write(chip, modes[mode] ?? mode);
    chip.dataset.mode = mode;
    write(state, states[word] ?? word);
    state.dataset.state = word;
  };
  return { head, show };
}

// A line for what went wrong, which is not there while nothing did.
function drawBanner(box) {
  const banner = add(box, "p", "sipkit-banner");
  banner.setAttribute("role", "alert");
  return (text) => {
    write(banner, text);
    banner.hidden = text === "";
  };
}

// What the banner says of a room: what is so for now, then what went wrong.
function complaint(model) {
  return [model.get("notice"), model.get("error")].filter(Boolean).join("\n");
}

function fromThisMachine() {
  const host = location.hostname;
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}
