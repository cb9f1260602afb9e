// The screen of a sandbox phone. It shows the traits of PhoneView and never changes them. It also makes the small
// noises of a telephone, which nobody but the learner hears: its keys, and while the receiver is used its ring-back.

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

const KEYS = "123456789*0#";
const ROWS_HZ = [697, 770, 852, 941]; // the two notes of a key (ITU-T Q.23)
const COLUMNS_HZ = [1209, 1336, 1477];
const KEY_SECONDS = 0.15;
const RING_HZ = [440, 480]; // ring-back of North America: two seconds of it, four of quiet
const RING_SECONDS = 2;
const RING_EVERY_MS = 6000;
const SOFT = 0.06;

// A page may make no sound before it was clicked, so the context is made at the first need.
function makeNoises() {
  let context = null;
  let ringing = null;
  const chord = (notes, seconds) => {
    context ??= new AudioContext();
    const volume = context.createGain();
    volume.gain.value = SOFT;
    volume.connect(context.destination);
    for (const hz of notes) {
      const note = context.createOscillator();
      note.frequency.value = hz;
      note.connect(volume);
      note.start();
      note.stop(context.currentTime + seconds);
    }
    return () => volume.disconnect();
  };
  const key = (place) => chord([ROWS_HZ[Math.floor(place / 3)], COLUMNS_HZ[place % 3]], KEY_SECONDS);
  const ring = (on) => {
    if (on === (ringing !== null)) return;
    clearInterval(ringing?.timer);
    ringing?.quiet();
    ringing = null;
    if (!on) return;
    const once = () => chord(RING_HZ, RING_SECONDS);
    ringing = { quiet: once(), timer: setInterval(() => (ringing.quiet = once()), RING_EVERY_MS) };
  };
  const close = () => {
    ring(false);
    context?.close();
  };
  return { key, ring, close };
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", "Sandbox phone");
  const head = drawHead(box, model, { title: "Phone", states: WORDS });
  const keyed = add(box, "p", "sipkit-big");
  keyed.setAttribute("aria-label", "Keys pressed");
  keyed.setAttribute("role", "group");
  const hears = add(box, "p", "sipkit-callers");
  const complain = drawBanner(box);

  const noises = makeNoises();
  // The keys and the receiver are other widgets; it is the panel that holds them all.
  const panel = () => el.closest(".sipkit-panel");
  const press = (event) => {
    const key = event.target.closest?.(".sipkit-keypad button");
    const place = key && panel()?.contains(key) ? KEYS.indexOf(key.textContent.trim()) : -1;
    if (place >= 0) noises.key(place);
  };
  const ring = () => {
    const held = panel()?.querySelector(".sipkit-receiver")?.dataset.state ?? "off";
    noises.ring(held !== "off" && ["calling", "ringing"].includes(model.get("state")));
  };

  const show = () => {
    head.show();
    write(keyed, model.get("keyed") || "\u00a0");
    write(hears, SAYS[model.get("state")]?.(model) ?? "");
    complain(model.get("error"));
    box.dataset.phone = model.get("state");
    box.dataset.calls = model.get("calls");
    box.dispatchEvent(new CustomEvent("sipkit-phone", { bubbles: true })); // the receiver follows it
    ring();
  };
  document.addEventListener("click", press, true);
  model.on("change", show);
  show();
  return () => {
    document.removeEventListener("click", press, true);
    model.off("change", show);
    noises.close();
  };
}

export default { render };
