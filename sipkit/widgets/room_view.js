// The room's page in a frame. It shows the traits of RoomFrame and never changes them.

const ALLOWED = "microphone; camera; autoplay; display-capture";
const ANSWER_MS = 5000; // even a slow machine has mostly loaded the page by then
const FRAMED_BY = ["http://localhost", "http://127.0.0.1"]; // the page lets these frame it, at any port

const ELSEWHERE = {
  sandbox:
    "This notebook comes from another machine (JupyterHub, Binder, a remote server), and the sandbox's sound and " +
    "pictures flow only inside one machine: the room would stay empty. Run JupyterLab on your own computer, with " +
    "make lab. The phones, the participants and the checks of the lessons work here too.",
  live:
    "This notebook comes from another machine (JupyterHub, Binder, a remote server), so the room's page on that " +
    "machine cannot be shown in here. Press Invite guests and open the link in a tab of its own: it is public.",
};
const FORWARDED = {
  sandbox: (port) =>
    "Does this notebook come through a forwarded port (ssh -L)? Then open JupyterLab on the machine where it runs, " +
    `or run it on the computer in front of you, with make lab. Forwarding port ${port} too would bring the page, but ` +
    "the sandbox's sound and pictures flow only inside one machine.",
  live: (port) =>
    `Does this notebook come through a forwarded port (ssh -L)? Then forward port ${port} too and press Try again, ` +
    "or open JupyterLab on the machine where it runs. Or press Invite guests and open the link: it is public.",
};
const INVITED = {
  sandbox: "Whoever has this link gets into the room until tomorrow; in the sandbox only from this machine.",
  live: "Whoever has this link gets into the room until tomorrow. A phone's camera reads the code.",
};

// Why a page that did not answer may be missing, and what to do.
function silence(mode, url) {
  const room = new URL(url);
  const framed = FRAMED_BY.includes(`${location.protocol}//${location.hostname}`);
  const why = framed
    ? FORWARDED[mode](room.port)
    : `This notebook was opened at ${location.origin}, and the browser may refuse to show the room in it. Open ` +
      `JupyterLab at ${FRAMED_BY.join(" or ")}, or the room in a tab of its own.`;
  return `The room's page at ${room.host} does not answer. ${why}`;
}

// The frame. A page that cannot load tells nobody, and a frame around it looks like an empty one; so the room's page
// says that it is there. `state` is none, loading, there or silent; `changed` hears of what was not asked for.
function makeFrame(place, title, changed) {
  let frame = null;
  let laid = "";
  let state = "none";
  let timer = 0;
  const become = (next) => {
    clearTimeout(timer);
    state = next;
    if (frame) frame.hidden = next === "silent"; // hidden it goes on loading
  };
  const lay = (url) => {
    frame?.remove(); // the page leaves the room as it goes
    frame = null;
    laid = url;
    become(url ? "loading" : "none");
    if (!url) return;
    frame = document.createElement("iframe");
    frame.className = "sipkit-room-frame";
    frame.title = title;
    frame.allow = ALLOWED;
    frame.referrerPolicy = "no-referrer";
    frame.src = url;
    place.append(frame);
    timer = setTimeout(() => {
      become("silent");
      changed();
    }, ANSWER_MS);
  };
  const hear = ({ source, data }) => {
    if (!source || source !== frame?.contentWindow || data?.sipkit !== "room") return;
    become("there"); // late, too: then the words go, and the page comes
    changed();
  };
  window.addEventListener("message", hear);
  return {
    // A new frame for each address, and none while there is nothing to show in it.
    follow: (url) => url !== laid && lay(url),
    again: () => lay(laid),
    state: () => state,
    close: () => {
      clearTimeout(timer);
      window.removeEventListener("message", hear);
    },
  };
}

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
  const head = drawHead(box, model, { title: model.get("room"), states: CALL_WORDS });
  const tab = add(head.head, "a", "sipkit-room-tab", "Open in a tab of its own");
  tab.target = "_blank";
  tab.rel = "noopener noreferrer";
  const complain = drawBanner(box);
  const again = add(box, "button", "sipkit-button", "Try again");
  again.type = "button";
  const place = add(box, "div", "sipkit-room-place");
  const invitation = drawInvitation(box, model.get("mode"));

  let trying = false;
  const show = () => {
    const mode = model.get("mode");
    const near = fromThisMachine();
    const url = near && model.get("page") === "open" ? model.get("url") : "";
    frame.follow(url);
    const silent = frame.state() === "silent";
    head.show();
    box.dataset.page = near ? (silent ? "silent" : model.get("page")) : "elsewhere";
    tab.hidden = url === "";
    if (url) tab.href = url;
    else tab.removeAttribute("href");
    const problem = near ? silent && silence(mode, url) : ELSEWHERE[mode];
    complain([problem, complaint(model)].filter(Boolean).join("\n"));
    trying &&= frame.state() === "loading"; // meanwhile the button stays, and with it the keyboard's place
    again.hidden = !(silent || trying);
    invitation(model.get("link"), model.get("qr"));
  };
  const frame = makeFrame(place, `Room ${model.get("room")}`, show);
  again.addEventListener("click", () => {
    frame.again();
    trying = true;
    show();
  });
  model.on("change", show);
  show();
  return () => {
    model.off("change", show);
    frame.close();
  };
}

export default { render };
