// The screen of a sandbox phone. It shows the traits of PhoneView and never changes them.

const WORDS = {
  idle: "on the hook",
  calling: "calling …",
  ringing: "ringing …",
  answered: "answered",
  ended: "the call ended",
  failed: "failed",
  "sandbox-only": "not in live mode",
};

const SAYS = {
  answered: (model) => `Hears: ${model.get("hears") || "nothing yet"}`,
  "sandbox-only": (model) =>
    `These phones belong to the sandbox. Take your own phone and call ${model.get("number")}.`,
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

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", "Sandbox phone");
  const head = add(box, "div", "sipkit-head");
  add(head, "span", "sipkit-title", "Phone");
  const chip = add(head, "span", "sipkit-chip");
  const state = add(head, "span", "sipkit-state");
  state.setAttribute("role", "status");
  const keyed = add(box, "p", "sipkit-big");
  keyed.setAttribute("aria-label", "Keys pressed");
  keyed.setAttribute("role", "group");
  const hears = add(box, "p", "sipkit-callers");
  const banner = add(box, "p", "sipkit-banner");
  banner.setAttribute("role", "alert");

  const show = () => {
    const mode = model.get("mode");
    write(chip, mode);
    chip.dataset.mode = mode;
    write(state, WORDS[model.get("state")] ?? model.get("state"));
    state.dataset.state = model.get("state");
    write(keyed, model.get("keyed") || "\u00a0");
    write(hears, SAYS[model.get("state")]?.(model) ?? "");
    write(banner, model.get("error"));
    banner.hidden = model.get("error") === "";
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
