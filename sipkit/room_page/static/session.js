// The video session, by the vendor's documented API only (OT.initSession, OT.initPublisher, subscribe, events), so
// that the same page works with Vonage's script and with the sandbox's.

import { Tile } from "./tiles.js";
import { whoIs } from "./roster.js";

const SCRIPT_PATIENCE_MS = 15000;

// Load the vendor's script; gives its OT.
export function loadScript(url) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error(
      `The video script could not be loaded from ${new URL(url).host}. Check the network, then load the page again.`,
    ));
    const timer = setTimeout(failed, SCRIPT_PATIENCE_MS);
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => {
      clearTimeout(timer);
      if (window.OT) resolve(window.OT);
      else failed();
    };
    script.onerror = failed;
    document.head.append(script);
  });
}

const LOOKS = { insertMode: "append", width: "100%", height: "100%", showControls: false, fitMode: "cover" };

const REASONS = {
  clientDisconnected: "You left the room.",
  forceDisconnected: "You were taken out of the room by a host.",
  networkDisconnected: "The connection to the room was lost. Check the network and join again.",
};

// What a failed publisher means for the person in front of it.
const PUBLISHING = {
  OT_USER_MEDIA_ACCESS_DENIED:
    "The browser did not allow the microphone or the camera. Allow them beside the page's address, then join again.",
  OT_NO_DEVICES_FOUND: "No microphone or camera was found. Connect one and join again.",
  OT_HARDWARE_UNAVAILABLE: "The microphone or the camera is in use by another program. Close that and join again.",
};
const CAMERA_MAY_BE_WHY = new Set(["OT_NO_DEVICES_FOUND", "OT_HARDWARE_UNAVAILABLE", "OT_CONSTRAINTS_NOT_SATISFIED"]);
const LISTENING = "Until then you see and hear the others; they do not see or hear you.";

// One stay in the room. `heard` is told of what happens:
// session(state, words), problem(words), here(id, who, mine), gone(id), and own(sends, can): what is sent, or null,
// and what could be, both { audio, video }.
export class Stay {
  #OT;
  #heard;
  #session = null;
  #publisher = null;
  #own = null; // the own tile
  #sends = { audio: false, video: false };
  #can = { audio: false, video: false }; // what was opened at all
  #tiles = new Map(); // stream id -> Tile
  #left = ""; // why, once it is over

  constructor(OT, heard) {
    this.#OT = OT;
    this.#heard = heard;
  }

  // pass: { key, session, token, name }; devices: { microphone, camera }, each "default", "none" or a device id.
  async join(pass, devices) {
    this.#session = this.#OT.initSession(pass.key, pass.session);
    this.#listen();
    await new Promise((resolve, reject) => {
      this.#session.connect(pass.token, (error) => (error ? reject(error) : resolve()));
    });
    this.#heard.session("connected", "You are in the room.");
    const { connection, capabilities } = this.#session;
    this.#heard.here(connection.connectionId, whoIs(connection), true);
    if (devices.microphone === "none" && devices.camera === "none") {
      this.#heard.own(null);
    } else if (capabilities?.publish === 0) {
      this.#heard.problem("This invitation does not let you send sound or pictures.");
    } else {
      await this.#publish(pass.name, devices);
    }
  }

  leave(words = REASONS.clientDisconnected) {
    this.#left = words;
    this.#publisher?.destroy();
    this.#session?.disconnect();
    this.#clear();
  }

  toggle(kind) {
    if (!this.#publisher || !this.#can[kind]) return;
    this.#sends[kind] = !this.#sends[kind];
    if (kind === "audio") this.#publisher.publishAudio(this.#sends.audio);
    else this.#publisher.publishVideo(this.#sends.video);
    this.#showOwn();
  }

  #listen() {
    const session = this.#session;
    session.on("connectionCreated", ({ connection }) => {
      if (connection.connectionId === session.connection?.connectionId) return;
      this.#heard.here(connection.connectionId, whoIs(connection), false);
    });
    session.on("connectionDestroyed", ({ connection }) => this.#heard.gone(connection.connectionId));
    session.on("streamCreated", ({ stream }) => this.#subscribe(stream));
    session.on("streamDestroyed", ({ stream }) => this.#drop(stream.streamId));
    session.on("streamPropertyChanged", ({ stream }) => {
      this.#tiles.get(stream.streamId)?.sends({ audio: stream.hasAudio, video: stream.hasVideo });
    });
    session.on("sessionReconnecting", () => {
      this.#heard.session("connecting", "The connection was lost. Reconnecting …");
    });
    session.on("sessionReconnected", () => this.#heard.session("connected", "You are in the room again."));
    session.on("sessionDisconnected", ({ reason }) => {
      const words = this.#left || (REASONS[reason] ?? "You are no longer in the room.");
      this.#left = words;
      this.#publisher?.destroy();
      this.#clear();
      this.#heard.session("disconnected", words);
    });
  }

  async #publish(name, { microphone, camera }) {
    try {
      await this.#publishWith(name, microphone, camera);
    } catch (error) {
      const withoutCamera = microphone !== "none" && camera !== "none" && CAMERA_MAY_BE_WHY.has(error.name);
      if (this.#left) return;
      if (!withoutCamera) {
        this.#heard.problem(this.#whyNotPublished(error));
        return;
      }
      try {
        await this.#publishWith(name, microphone, "none");
        this.#heard.problem("The camera cannot be used: the others hear you, but do not see you.");
      } catch (again) {
        if (!this.#left) this.#heard.problem(this.#whyNotPublished(again));
      }
    }
  }

  async #publishWith(name, microphone, camera) {
    const tile = new Tile(name, "own");
    const properties = { ...LOOKS, name, resolution: "640x480" };
    for (const [key, choice] of [["audioSource", microphone], ["videoSource", camera]]) {
      // Left out, it is the browser's choice; null is none at all.
      if (choice !== "default") properties[key] = choice === "none" ? null : choice;
    }
    this.#sends = { audio: microphone !== "none", video: camera !== "none" };
    this.#can = { ...this.#sends };
    try {
      const publisher = await new Promise((resolve, reject) => {
        const made = this.#OT.initPublisher(tile.video, properties, (error) => (error ? reject(error) : resolve(made)));
        this.#publisher = made;
      });
      if (this.#left) throw new Error("left before the devices were open");
      this.#own = tile;
      this.#showOwn();
      publisher.on("audioLevelUpdated", ({ audioLevel }) => tile.level(audioLevel));
      publisher.on("streamCreated", ({ stream }) => { tile.stream = stream.streamId; });
      publisher.on("streamDestroyed", (event) => this.#stopped(event));
      publisher.on("muteForced", () => {
        this.#sends.audio = false;
        this.#showOwn();
        this.#heard.problem("A host muted you. Press Mute again when you want to speak.");
      });
      await new Promise((resolve, reject) => {
        this.#session.publish(publisher, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      this.#publisher?.destroy();
      this.#publisher = null;
      this.#own = null;
      tile.remove();
      this.#heard.own(null);
      throw error;
    }
  }

  #whyNotPublished(error) {
    if (!navigator.mediaDevices) {
      return `This page is not a secure one (https, or localhost), so the browser gives it no microphone. ${LISTENING}`;
    }
    return `${PUBLISHING[error.name] ?? `Your sound and picture could not be sent: ${error.message}`} ${LISTENING}`;
  }

  // The own stream ended though nobody left: unplugged, or ended by a host. The picture here must not say otherwise.
  #stopped(event) {
    if (this.#left) return;
    event.preventDefault?.();
    this.#publisher?.destroy();
    this.#publisher = null;
    this.#own?.remove();
    this.#own = null;
    this.#heard.own(null);
    const who = event.reason === "forceUnpublished" ? "A host ended" : "The browser ended";
    this.#heard.problem(`${who} your sound and picture. To send them again, leave and join again.`);
  }

  #subscribe(stream) {
    const who = whoIs(stream.connection);
    const tile = new Tile(who.name, who.kind);
    tile.stream = stream.streamId;
    tile.sends({ audio: stream.hasAudio, video: stream.hasVideo });
    this.#tiles.set(stream.streamId, tile);
    const subscriber = this.#session.subscribe(stream, tile.video, LOOKS, (error) => {
      if (error && this.#tiles.has(stream.streamId)) tile.say("cannot be received");
    });
    subscriber?.on("audioLevelUpdated", ({ audioLevel }) => tile.level(audioLevel));
    subscriber?.on("disconnected", () => tile.say("interrupted"));
    subscriber?.on("connected", () => tile.sends({ audio: stream.hasAudio, video: stream.hasVideo }));
  }

  #drop(streamId) {
    this.#tiles.get(streamId)?.remove();
    this.#tiles.delete(streamId);
  }

  #showOwn() {
    this.#own?.sends(this.#sends);
    this.#heard.own(this.#publisher ? { ...this.#sends } : null, this.#can);
  }

  #clear() {
    for (const streamId of [...this.#tiles.keys()]) this.#drop(streamId);
    this.#own?.remove();
    this.#own = null;
    this.#publisher = null;
    this.#heard.own(null);
  }
}
