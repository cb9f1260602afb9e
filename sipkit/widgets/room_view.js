// The room's page in a frame. It shows the traits of RoomFrame and never changes them.

const WORDS = {
  idle: "no call",
  dialing: "dialing …",
  connected: "connected",
  "hanging-up": "hanging up …",
  failed: "failed",
};
const ALLOWED = "microphone; camera; autoplay; display-capture";
const ELSEWHERE = {
  sandbox:
    "This notebook comes from another machine (JupyterHub, Binder, a remote server), and the sandbox's sound and " +
    "pictures flow only inside one machine: the room would stay empty. Run JupyterLab on your own computer, with " +
    "make lab. The phones, the participants and the checks of the lessons work here too.",
  live:
    "This notebook comes from another machine (JupyterHub, Binder, a remote server), so the room's page on that " +
    "machine cannot be shown in here. Press Invite guests and open the link in a tab of its own: it is public.",
};

const INVITED = {
  sandbox: "Whoever has this link gets into the room until tomorrow; in the sandbox only from this machine.",
  live: "Whoever has this link gets into the room until tomorrow. A phone's camera reads the code.",
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

// The room's page lets notebooks of these two hosts frame it, and no others.
const fromThisMachine = () => ["localhost", "127.0.0.1"].includes(location.hostname);

function drawInvitation(box, mode) {
  const guests = add(box, "section", "sipkit-room-guests");
  guests.setAttribute("aria-label", "Invitation for guests");
  add(guests, "p", "", INVITED[mode]);
  const link = add(guests, "a", "sipkit-room-link");
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  const code = add(guests, "img", "sipkit-room-qr");
  code.alt = "QR code of the link";
  return (url, svg) => {
    guests.hidden = url === "";
    write(link, url);
    if (url) link.href = url;
    if (svg) code.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    else code.removeAttribute("src");
  };
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Room ${model.get("room")}`);
  const head = add(box, "div", "sipkit-head");
  add(head, "span", "sipkit-title", model.get("room"));
  const chip = add(head, "span", "sipkit-chip");
  const state = add(head, "span", "sipkit-state");
  state.setAttribute("role", "status");
  const tab = add(head, "a", "sipkit-room-tab", "Open in a tab of its own");
  tab.target = "_blank";
  tab.rel = "noopener noreferrer";
  const banner = add(box, "p", "sipkit-banner");
  banner.setAttribute("role", "alert");
  const place = add(box, "div", "sipkit-room-place");
  const invitation = drawInvitation(box, model.get("mode"));

  let frame = null;
  // A new frame for each address, and none while there is nothing to show in it: it leaves the room as it goes.
  const lay = (url) => {
    if (frame?.src === url || (!frame && !url)) return;
    frame?.remove();
    frame = null;
    if (!url) return;
    frame = document.createElement("iframe");
    frame.className = "sipkit-room-frame";
    frame.title = `Room ${model.get("room")}`;
    frame.allow = ALLOWED;
    frame.referrerPolicy = "no-referrer";
    frame.src = url;
    place.append(frame);
  };
  const show = () => {
    const mode = model.get("mode");
    const near = fromThisMachine();
    const shown = near && model.get("page") === "open" ? model.get("url") : "";
    const problem = near ? model.get("error") : [ELSEWHERE[mode], model.get("error")].filter(Boolean).join("\n");
    write(chip, mode);
    chip.dataset.mode = mode;
    write(state, WORDS[model.get("state")] ?? model.get("state"));
    state.dataset.state = model.get("state");
    box.dataset.page = near ? model.get("page") : "elsewhere";
    tab.hidden = shown === "";
    if (shown) tab.href = shown;
    else tab.removeAttribute("href");
    write(banner, problem);
    banner.hidden = problem === "";
    lay(shown);
    invitation(model.get("link"), model.get("qr"));
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
