// What is in the page: the box of a publisher or subscriber with its <video>, name and buttons.
//
// Everything is built node by node and styled through element.style, which a Content-Security-Policy without
// 'unsafe-inline' allows.

const DEFAULT_WIDTH = 264;
const DEFAULT_HEIGHT = 198;

const SHADE = "rgba(0, 0, 0, 0.65)";
const STYLE_DEFAULTS = {
  nameDisplayMode: "auto",
  buttonDisplayMode: "auto",
  audioBlockedDisplayMode: "auto",
  audioLevelDisplayMode: "auto",
  videoDisabledDisplayMode: "auto",
};

class View {
  // role: "publisher" or "subscriber". With insertDefaultUI: false there is a <video> and no box.
  constructor(role, target, properties) {
    const id = newId();
    this._properties = properties;
    this.style = { ...STYLE_DEFAULTS, ...properties.style };
    if (properties.showControls === false) {
      Object.assign(this.style, { nameDisplayMode: "off", buttonDisplayMode: "off" });
    }
    this.video = null;
    this.element = properties.insertDefaultUI === false ? undefined : insert(target, properties.insertMode, id);
    this.id = this.element?.id ?? id;
    if (this.element) this._dress(role);
  }

  // Show a stream; the <video> is made at the first call. Gives true when it was.
  show(stream, { muted, mirrored, fit }) {
    const first = this.video === null;
    if (first) {
      this.video = document.createElement("video");
      this.video.className = "OT_video-element";
      this.video.autoplay = true;
      this.video.playsInline = true;
      // A quiet element may always start by itself; the property alone is not enough in Safari.
      if (muted) this.video.setAttribute("muted", "");
    }
    this.video.muted = muted;
    const { style } = this.video;
    style.transform = mirrored ? "scaleX(-1)" : "";
    if (this.element) {
      Object.assign(style, { width: "100%", height: "100%", objectFit: this._properties.fitMode ?? fit });
      if (first) this.element.prepend(this.video);
    }
    // Given again, the same stream would start from the beginning.
    if (this.video.srcObject !== stream) this.video.srcObject = stream;
    return first;
  }

  // The name below and the buttons above: `buttons` are { id, label(), pressed(), press() }.
  dressControls(name, buttons) {
    if (!this.element) return;
    this._buttons = buttons;
    this._bar = part("div", { insetInlineStart: "0", insetInlineEnd: "0", bottom: "0", padding: "0.25em 0.5em",
      display: "flex", gap: "0.5em", alignItems: "center", font: "14px/1.4 system-ui, sans-serif" });
    this._bar.className = "OT_bar";
    this._name = document.createElement("span");
    this._name.className = "OT_name";
    this._name.textContent = name;
    Object.assign(this._name.style, { flex: "1", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" });
    this._bar.append(this._name);
    for (const each of buttons) {
      each.node = pressable(each.press);
      this._bar.append(each.node);
    }
    this.element.append(this._bar);
    for (const type of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.element.addEventListener(type, () => this.refresh());
    }
    this.refresh();
  }

  refresh() {
    if (!this._bar) return;
    const near = this.element.matches(":hover, :focus-within");
    const shown = (mode) => mode === "on" || (mode === "auto" && near);
    const buttons = shown(this.style.buttonDisplayMode);
    this._name.style.visibility = shown(this.style.nameDisplayMode) ? "visible" : "hidden";
    this._bar.style.opacity = buttons || shown(this.style.nameDisplayMode) ? "1" : "0";
    for (const { node, label, pressed } of this._buttons) {
      node.textContent = label();
      node.setAttribute("aria-pressed", String(pressed()));
      // Kept in the tab order while invisible, so that a keyboard can bring it into view.
      node.style.display = this.style.buttonDisplayMode === "off" ? "none" : "";
    }
  }

  // A large button over the picture that says why there is no sound, and gives it.
  offerSound(press) {
    if (!this.element || this.style.audioBlockedDisplayMode === "off" || this._sound) return;
    this._sound = pressable(press);
    this._sound.className = "OT_audio-blocked";
    this._sound.textContent = "Play the sound";
    Object.assign(this._sound.style, { position: "absolute", insetInlineStart: "50%", top: "50%",
      transform: "translate(-50%, -50%)", fontSize: "1.1em", padding: "0.6em 1em" });
    this.element.append(this._sound);
  }

  hideSoundOffer() {
    this._sound?.remove();
    this._sound = null;
  }

  // The picture as base64 PNG data; null while there is none.
  picture() {
    if (!this.video?.videoWidth) return null;
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  }

  remove() {
    if (this.video) {
      this.video.srcObject = null;
      this.video.remove();
    }
    this.element?.remove();
  }

  _dress(role) {
    const { width = DEFAULT_WIDTH, height = DEFAULT_HEIGHT } = this._properties;
    this.element.classList.add("OT_root", `OT_${role}`);
    Object.assign(this.element.style, { width: length(width), height: length(height), overflow: "hidden",
      backgroundColor: "#000", color: "#fff" });
    if (getComputedStyle(this.element).position === "static") this.element.style.position = "relative";
  }
}

// Find the box's place (insertMode: "replace" empties and takes the target itself, and so removes it in the end).
function insert(target, mode = "replace", id) {
  const found = typeof target === "string" ? document.getElementById(target) : target;
  if (found && mode === "replace") {
    found.replaceChildren();
    found.id ||= id;
    return found;
  }
  const box = document.createElement("div");
  box.id = found || typeof target !== "string" ? id : target;
  if (!found) document.body.append(box);
  else if (mode === "before") found.before(box);
  else if (mode === "after") found.after(box);
  else found.append(box);
  return box;
}

// Not crypto.randomUUID(): a page over plain http, which may subscribe though it may not publish, has none.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `OT_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function length(value) {
  return typeof value === "number" || /^\d+$/.test(value) ? `${value}px` : value;
}

function part(tag, style) {
  const node = document.createElement(tag);
  Object.assign(node.style, { position: "absolute", boxSizing: "border-box", background: SHADE, color: "#fff" }, style);
  return node;
}

function pressable(press) {
  const button = document.createElement("button");
  button.type = "button";
  Object.assign(button.style, { background: SHADE, color: "#fff", border: "1px solid #fff", borderRadius: "4px",
    font: "inherit", cursor: "pointer", padding: "0.1em 0.5em" });
  button.addEventListener("click", press);
  return button;
}

// getStyle() / setStyle({...}) / setStyle("name", value) of publishers and subscribers.
function restyle(view, style, value) {
  Object.assign(view.style, typeof style === "string" ? { [style]: value } : style);
  view.refresh();
}
