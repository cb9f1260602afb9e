// The receiver of a sandbox phone: the browser's microphone and speaker, over WebRTC. The kernel carries the offer
// and the answer; the sound goes past it.

const CONNECT_MS = 8000; // sound that did not find its way by then never will
const KERNEL_MS = 1500; // an idle kernel answers much sooner
const METER_MS = 100;
const IN_CALL = ["calling", "ringing", "answered"];

const WORDS = {
  off: "Not in use. The words, the whistle and files below work without it.",
  asking: "Please allow the microphone: the browser is asking you.",
  ready: "Ready. Press Call; until then nothing leaves this page.",
  waiting:
    "Waiting for the kernel. It is busy with a cell, or gone; the receiver is lifted as soon as the cell has ended.",
  connecting: "Connecting …",
  talking: "You are on the phone: speak and listen.",
  listening: "You are on the phone, and can only listen.",
  failed: "Your microphone and speaker cannot be used here.",
};
const STILL = "The words, the whistle and files below work without it.";
const WHY = {
  refused:
    "The browser refused the microphone. Click the sign before the address in the address bar, allow the microphone " +
    `for this page, then untick and tick the box. ${STILL}`,
  "no-microphone": `The browser finds no microphone. Connect one, then untick and tick the box. ${STILL}`,
  "busy-microphone":
    "The microphone cannot be opened; another program may be using it. Close that program, then untick and tick " +
    `the box. ${STILL}`,
  insecure:
    "Browsers give the microphone only to pages of this machine, or to encrypted ones. Open JupyterLab under " +
    `localhost or 127.0.0.1. ${STILL}`,
  unsupported: `This browser has no WebRTC. Use a current Chromium, Firefox or Safari. ${STILL}`,
  elsewhere:
    "This page comes from another machine (JupyterHub, Binder, a remote server), and sound cannot flow from your " +
    `browser to the sandbox there. Run JupyterLab on your own computer: make lab. ${STILL}`,
  blocked:
    "No sound came through within 8 seconds. The sandbox does not run on the computer in front of you (a forwarded " +
    "port carries the page, but no sound), or this computer is on no network at all (any will do), or a firewall " +
    "stops UDP, or this is Firefox without media.peerconnection.ice.loopback in about:config. Run JupyterLab here, " +
    `with make lab; then untick and tick the box. ${STILL}`,
  lost: `The sound was cut off. Untick and tick the box to lift the receiver again. ${STILL}`,
  sandbox: `The receiver cannot be lifted. ${STILL}`,
};
const REFUSALS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "no-microphone",
  OverconstrainedError: "no-microphone",
};

// What makes the microphone useless before it is asked for, as a word of WHY.
function obstacle() {
  if (!fromThisMachine()) return "elsewhere";
  if (!window.isSecureContext || !navigator.mediaDevices) return "insecure";
  return "RTCPeerConnection" in window ? "" : "unsupported";
}

// Levels of streams. A page may not listen before it was clicked, so the context is made at the first need.
function makeMeters() {
  let context = null;
  const meter = (stream) => {
    context ??= new AudioContext();
    const source = context.createMediaStreamSource(stream);
    const analyser = context.createAnalyser();
    const samples = new Float32Array(analyser.fftSize);
    source.connect(analyser);
    const read = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
      return Math.max(0, 1 + Math.log10(power + 1e-12) / 6); // 0 at -60 dBFS, 1 at full scale
    };
    return { read, stop: () => source.disconnect() };
  };
  return { meter, close: () => context?.close() };
}

// One lifted receiver. `up` says whether its call is; `tell` hears of its state and, where it is at an end, why.
function lift({ model, call, up, microphone, tell }) {
  const id = crypto.randomUUID(); // another view of this panel may be waiting for an answer of its own
  const peer = new RTCPeerConnection();
  const ear = new Audio();
  const timers = [];
  const later = (ms, action) => timers.push(setTimeout(action, ms));
  let over = false;

  const end = (why = "", text = "") => {
    if (over) return;
    over = true;
    timers.forEach(clearTimeout);
    model.off("msg:custom", read);
    peer.close();
    ear.pause();
    ear.srcObject = null;
    // With the call the receiver ends by itself, and the sandbox refuses one that was never lifted.
    if (why !== "sandbox" && up()) model.send({ down: true, call });
    if (why) tell("failed", why, text);
  };
  const read = async (message) => {
    if (message.id !== id || over) return;
    if (message.refused) return end("sandbox", message.refused);
    timers.forEach(clearTimeout);
    tell("connecting");
    later(CONNECT_MS, () => end("blocked"));
    try {
      await peer.setRemoteDescription({ type: "answer", sdp: message.answer });
    } catch (error) {
      end("sandbox", String(error));
    }
  };
  const offer = async () => {
    const track = microphone?.getAudioTracks()[0];
    const transceiver = peer.addTransceiver(track ?? "audio", { direction: "sendrecv" });
    const codecs = RTCRtpReceiver.getCapabilities("audio").codecs;
    const isPcmu = (codec) => codec.mimeType.toLowerCase() === "audio/pcmu";
    // The telephone's own codec first: then nothing has to be converted.
    transceiver.setCodecPreferences?.([...codecs.filter(isPcmu), ...codecs.filter((codec) => !isPcmu(codec))]);
    await peer.setLocalDescription();
    if (over) return;
    later(KERNEL_MS, () => tell("waiting"));
    model.send({ offer: peer.localDescription.sdp, call, id });
  };

  model.on("msg:custom", read);
  peer.addEventListener("track", ({ track, streams }) => {
    ear.srcObject = streams[0] ?? new MediaStream([track]);
    ear.play().catch(() => {}); // refused only on a page nobody clicked, and there the box was not ticked
  });
  peer.addEventListener("connectionstatechange", () => {
    if (peer.connectionState === "connected") {
      timers.forEach(clearTimeout);
      tell(microphone ? "talking" : "listening");
    } else if (["failed", "closed"].includes(peer.connectionState)) {
      end("lost");
    }
  });
  tell("connecting");
  offer().catch((error) => end("sandbox", String(error)));
  return { call, end, heard: () => ear.srcObject };
}

function draw(el) {
  const box = add(el, "section", "sipkit-receiver");
  box.setAttribute("aria-label", "Receiver");
  const row = add(box, "div", "sipkit-receiver-row");
  const label = add(row, "label", "sipkit-receiver-use");
  const use = add(label, "input", "");
  use.type = "checkbox";
  label.append(" Use my microphone and speaker");
  const mute = add(row, "button", "sipkit-button sipkit-receiver-mute", "Mute");
  mute.type = "button";
  const said = add(box, "div", "sipkit-receiver-said");
  said.setAttribute("aria-live", "polite");
  const words = add(said, "p", "sipkit-receiver-state");
  const why = add(said, "p", "sipkit-banner sipkit-receiver-why");
  const meters = add(box, "div", "sipkit-receiver-meters");
  const meter = (name, className) => {
    const line = add(meters, "label", "", `${name} `);
    const node = add(line, "meter", className);
    node.setAttribute("aria-label", name);
    return node;
  };
  const mouth = meter("Your microphone", "sipkit-receiver-mouth");
  const ear = meter("What you hear", "sipkit-receiver-ear");
  return { box, use, mute, words, why, meters, mouth, ear };
}

function render({ model, el }) {
  const face = draw(el);
  const meters = makeMeters();
  let microphone = null;
  let missing = ""; // why there is no microphone, though the box is ticked
  let line = null; // the lifted receiver
  let turn = 0; // counts ticks of the box: what was asked for before the last one is not wanted any more
  const levels = { mouth: null, ear: null };

  const measure = (name, stream) => {
    levels[name]?.stop();
    levels[name] = stream ? meters.meter(stream) : null;
  };
  const tell = (state, why = "", text = "") => {
    const reason = why || missing;
    const heard = state === "talking" || state === "listening" ? line.heard() : null;
    if ((heard === null) !== (levels.ear === null)) measure("ear", heard);
    face.box.dataset.state = state;
    face.box.dataset.why = reason;
    write(face.words, WORDS[state]);
    write(face.why, [text, WHY[reason]].filter(Boolean).join("\n"));
    face.why.hidden = face.why.textContent === "";
    face.meters.hidden = state === "off" || state === "failed";
    model.set("state", state);
    model.set("why", reason);
    model.save_changes();
  };
  const layDown = () => {
    line?.end();
    line = null;
  };
  const mute = () => {
    const muted = model.get("muted");
    microphone?.getAudioTracks().forEach((track) => (track.enabled = !muted));
    face.mute.disabled = microphone === null;
    face.mute.setAttribute("aria-pressed", String(muted));
    write(face.mute, muted ? "Unmute" : "Mute");
  };
  const open = async () => {
    const mine = ++turn;
    const why = obstacle();
    if (why) return tell("failed", why);
    tell("asking");
    let stream = null;
    let refusal = "";
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    } catch (error) {
      refusal = REFUSALS[error.name] ?? "busy-microphone";
    }
    if (mine !== turn) return stream?.getTracks().forEach((track) => track.stop());
    microphone = stream;
    missing = refusal;
    measure("mouth", stream);
    // Unplugged, or no longer allowed: what is left is to listen.
    stream?.getAudioTracks()[0].addEventListener("ended", () => {
      missing = "no-microphone";
      tell(face.box.dataset.state === "talking" ? "listening" : face.box.dataset.state);
    });
    mute();
    tell("ready");
    follow();
  };
  const close = () => {
    turn += 1;
    layDown();
    measure("mouth", null);
    microphone?.getTracks().forEach((track) => track.stop()); // the browser's recording sign goes out
    microphone = null;
    missing = "";
    mute();
    tell("off");
  };
  // The phone is followed: each new call gets a new receiver, the end of a call lays it down.
  const phone = () => el.closest(".sipkit-panel")?.querySelector("[data-phone]")?.dataset ?? {};
  const up = () => IN_CALL.includes(phone().phone);
  const follow = () => {
    if (["off", "asking"].includes(face.box.dataset.state) || obstacle()) return;
    const call = Number(phone().calls);
    if (line && (!up() || line.call !== call)) {
      layDown();
      tell("ready");
    }
    if (!line && up()) line = lift({ model, call, up, microphone, tell });
  };
  const show = () => {
    face.mouth.value = levels.mouth?.read() ?? 0;
    face.ear.value = levels.ear?.read() ?? 0;
  };

  const ticking = setInterval(show, METER_MS);
  face.use.addEventListener("change", () => (face.use.checked ? open() : close()));
  face.mute.addEventListener("click", () => {
    model.set("muted", !model.get("muted"));
    model.save_changes();
  });
  // Not by a trait, which a cell would set: receiver.py says what the kernel would make of that.
  document.addEventListener("sipkit-phone", follow);
  model.on("change:muted", mute);
  face.box.hidden = !model.get("usable"); // live there is no phone to lend its receiver
  mute();
  tell("off");
  return () => {
    clearInterval(ticking);
    document.removeEventListener("sipkit-phone", follow);
    model.off("change:muted", mute);
    close();
    meters.close();
  };
}

export default { render };
