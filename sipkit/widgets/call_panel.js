// The upper part of the call panel. It shows the traits of CallView and never changes them.

const WORDS = {
  idle: "no call",
  dialing: "dialing …",
  connected: "connected",
  "hanging-up": "hanging up …",
  failed: "failed",
};
const MODES = {
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

function fact(list, name) {
  const row = add(list, "div", "sipkit-fact");
  add(row, "dt", "", name);
  const value = add(row, "dd", "");
  const seen = add(value, "span", "sipkit-big");
  const spoken = add(value, "span", "sipkit-spoken");
  seen.setAttribute("aria-hidden", "true");
  return (text) => {
    write(seen, text);
    write(spoken, [...text].join(" ")); // "one two three four", not "one thousand two hundred …"
  };
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Call panel of room ${model.get("room")}`);
  const head = add(box, "div", "sipkit-head");
  add(head, "span", "sipkit-title", model.get("room"));
  const chip = add(head, "span", "sipkit-chip");
  const state = add(head, "span", "sipkit-state");
  state.setAttribute("role", "status");
  const facts = add(box, "dl", "sipkit-facts");
  const number = fact(facts, "Call this number");
  const pin = fact(facts, "and key this PIN, then #");
  const callers = add(box, "p", "sipkit-callers");
  callers.setAttribute("aria-live", "polite");
  const banner = add(box, "p", "sipkit-banner");
  banner.setAttribute("role", "alert");

  const show = () => {
    write(chip, MODES[model.get("mode")] ?? model.get("mode"));
    chip.dataset.mode = model.get("mode");
    write(state, WORDS[model.get("state")] ?? model.get("state"));
    state.dataset.state = model.get("state");
    number(model.get("number"));
    pin(model.get("pin"));
    const count = model.get("callers");
    write(callers, count === 1 ? "1 phone in the conversation" : `${count} phones in the conversation`);
    write(banner, model.get("error"));
    banner.hidden = model.get("error") === "";
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
