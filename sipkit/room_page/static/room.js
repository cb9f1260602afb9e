// The room page: the lobby, the stay in the session, and the call that lets phones in.

import { RoomApi } from "./api.js";
import { Hosting } from "./hosting.js";
import { hideInvitation } from "./link.js";
import { by, showError, write } from "./page.js";
import { Roster } from "./roster.js";
import { loadScript, Stay } from "./session.js";

hideInvitation();

const main = by("room");
const config = JSON.parse(main.dataset.config);
const host = config.role === "host";
const api = new RoomApi(config.path, config.visit);
const roster = new Roster();
const hosting = host ? new Hosting(api) : null;
const script = loadScript(config.script);
script.catch(() => {}); // told when somebody joins

const CALL_WORDS = {
  idle: "The phone line is not connected to this room.",
  dialing: "Calling the number …",
  connected: "The phone line is connected: call the number and type the PIN.",
  "hanging-up": "Hanging up …",
  failed: "The call did not come up.",
};
const SWITCHES = [["mute", "audio"], ["camera", "video"]]; // pressed means off
const NOT_ANSWERED = "The call ended before anybody answered. Does the webhook server run? Dial again.";

let stay = null;
let serverTroubled = false;
let over = false; // nobody can come in any more

// The call

function showCall(state) {
  main.dataset.state = state;
  write(by("call"), CALL_WORDS[state]);
  allow("dial-out", ["idle", "failed"].includes(state));
  allow("hang-up", ["dialing", "connected"].includes(state));
}

// Not `disabled`: that would take the focus away from a button somebody has just pressed by keyboard.
function allow(id, allowed) {
  by(id)?.setAttribute("aria-disabled", String(!allowed));
}

let pressing = false;
let waiting = false; // for the answer to a dial of this page

// What the server says of the call, seen with what the page knows: who pressed Dial out is told that nobody answered.
function heardCall(told, unanswered) {
  if (pressing) return;
  if (told === "idle" && waiting && unanswered) {
    showError(NOT_ANSWERED);
    showCall("failed");
  } else if (told !== "idle" || main.dataset.state !== "failed") {
    showCall(told);
  }
  if (told !== "dialing") waiting = false;
}

async function press(action, meanwhile) {
  if (pressing || by(action).getAttribute("aria-disabled") === "true") return;
  const before = main.dataset.state;
  pressing = true;
  waiting = false;
  showError("");
  showCall(meanwhile);
  try {
    const told = await api.post(action);
    showCall(told.call);
    waiting = action === "dial-out" && told.call === "dialing";
    // Nothing hung up and still a call: the reason says what is known of it.
    if (told.hung_up === false && told.call !== "idle") showError(told.words);
  } catch (error) {
    showError(error.message);
    showCall(action === "dial-out" && ![409, 429].includes(error.status) ? "failed" : before);
  } finally {
    pressing = false;
  }
}

// The state of the room, from the server

function heardState(state) {
  if (serverTroubled) showError("");
  serverTroubled = false;
  heardCall(state.call, state.unanswered);
  hosting?.show(state.hosting);
  roster.phones(hosting ? state.hosting.phones.filter((phone) => !phone.waiting) : state.callers);
}

function lostServer(error) {
  serverTroubled = true;
  showError(error.message);
  if (!error.final) return;
  roster.phones([]);
  hosting?.end();
  write(by("call"), "");
  over = true;
  by("join").disabled = true;
  allow("dial-out", false);
  allow("hang-up", false);
  // A closed room is over; with an expired invitation whoever is connected stays.
  if (error.status === 410) stay?.leave(error.message);
}

// The stay in the session

const heard = {
  session(state, words) {
    main.dataset.session = state;
    write(by("session"), words);
    if (state !== "disconnected") return;
    stay = null;
    roster.forgetSession();
    showLobby(true);
  },
  problem: showError,
  here: (id, who, mine) => roster.join(`connection ${id}`, who, mine ? "you" : ""),
  gone: (id) => roster.leave(`connection ${id}`),
  own(sends, can) {
    for (const [id, kind] of SWITCHES) {
      by(id).disabled = !sends || !can[kind];
      by(id).setAttribute("aria-pressed", String(Boolean(sends) && !sends[kind]));
    }
  },
};

function showLobby(shown) {
  main.dataset.joined = shown ? "no" : "yes";
  by("lobby").hidden = !shown;
  by("stage").hidden = shown;
  by("controls").hidden = shown;
  by("join").disabled = over;
  // A disabled button takes no focus, and the keyboard would begin again at the top of the page.
  by(shown ? (over ? "lobby" : "join") : "stage").focus();
}

async function join(event) {
  event.preventDefault();
  if (stay) return;
  by("join").disabled = true;
  showError("");
  main.dataset.session = "connecting";
  write(by("session"), "Joining …");
  const name = by("display-name").value;
  const devices = { microphone: by("microphone").value, camera: by("camera-choice").value };
  try {
    const [OT, pass] = await Promise.all([script, api.post("token", { name })]);
    if (OT.checkSystemRequirements() !== 1) throw new Error("This browser cannot do video calls. Try a current one.");
    stay = new Stay(OT, heard);
    showLobby(false);
    await stay.join(pass, devices);
    listDevices(OT);
  } catch (error) {
    stay = null;
    heard.session("disconnected", "Not in the room.");
    showError(error.message);
  }
}

// Once the browser allows devices it also names them; before, there is nothing to choose from.
function listDevices(OT) {
  OT.getDevices((error, devices) => {
    if (error) return;
    fill(by("microphone"), devices.filter((device) => device.kind === "audioInput"));
    fill(by("camera-choice"), devices.filter((device) => device.kind === "videoInput"));
    if (!devices.length) write(by("devices"), "No microphone or camera was found. You can join and listen.");
  });
}

function fill(select, devices) {
  const chosen = select.value;
  for (const option of [...select.options]) if (!["default", "none"].includes(option.value)) option.remove();
  for (const device of devices) {
    if (!device.label || !device.deviceId || device.deviceId === "default") continue;
    select.add(new Option(device.label, device.deviceId), select.options[select.options.length - 1]);
  }
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = "default";
}

by("join-form").addEventListener("submit", join);
by("leave").addEventListener("click", () => stay?.leave());
by("mute").addEventListener("click", () => stay?.toggle("audio"));
by("camera").addEventListener("click", () => stay?.toggle("video"));
by("dial-out")?.addEventListener("click", () => press("dial-out", "dialing"));
by("hang-up")?.addEventListener("click", () => press("hang-up", "hanging-up"));
// A page that goes says so, or the others would see it standing for half a minute.
window.addEventListener("pagehide", () => stay?.leave());
showCall("idle");
if (!navigator.mediaDevices) {
  write(by("devices"), "Browsers give microphones and cameras to https pages and to localhost only. You can listen.");
}
script.then(listDevices, () => {});
api.follow(heardState, lostServer);
// A frame cannot see whether its page came, or the browser's own page about an error; this is no secret.
if (window.parent !== window) window.parent.postMessage({ sipkit: "room" }, "*");
