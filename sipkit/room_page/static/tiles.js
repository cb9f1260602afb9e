// The people in sound and picture: one figure a stream, with a place for the video, the name, and a level meter.

import { add, by, write } from "./page.js";

const FALL = 0.9; // a level falls slowly, so that it can be read
const FLOOR_DB = -60;

// Loudness as the eye wants it: 0 at -60 dB below full scale, 1 at full scale. (The vendor's guide does the same.)
function readable(level) {
  return level > 0 ? Math.max(0, 1 - (20 * Math.log10(level)) / FLOOR_DB) : 0;
}

export class Tile {
  #average = 0;

  constructor(name, kind) {
    this.name = name;
    this.figure = add(by("tiles"), "figure");
    this.figure.dataset.kind = kind; // own | person | phone
    this.video = add(this.figure, "div", "video");
    this.initial = add(this.video, "span", "initial", kind === "phone" ? "☎" : [...name][0] ?? "?");
    this.initial.setAttribute("aria-hidden", "true");
    const caption = add(this.figure, "figcaption");
    add(caption, "span", "name", kind === "own" ? `${name} (you)` : name);
    this.note = add(caption, "span", "note");
    this.meter = add(caption, "meter");
    this.meter.max = 1;
    this.meter.setAttribute("aria-label", `Loudness of ${name}`);
    refreshStage();
  }

  set stream(id) {
    if (id) this.figure.dataset.stream = id;
    else delete this.figure.dataset.stream;
  }

  // What is sent, in words below the picture; without a picture the initial stands in.
  sends({ audio, video }) {
    this.figure.dataset.audio = audio ? "on" : "off";
    this.figure.dataset.video = video ? "on" : "off";
    const missing = [audio ? "" : "muted", video || this.figure.dataset.kind === "phone" ? "" : "no camera"];
    write(this.note, missing.filter(Boolean).join(", "));
  }

  say(text) {
    write(this.note, text);
  }

  level(level) {
    this.#average = Math.max(level, this.#average * FALL);
    // Sixty times a second it is asked, and seldom is there anything new to paint.
    const shown = Math.round(readable(this.#average) * 50) / 50;
    if (shown !== this.meter.value) this.meter.value = shown;
  }

  remove() {
    this.figure.remove();
    refreshStage();
  }
}

function refreshStage() {
  by("alone").hidden = by("tiles").querySelector("figure:not([data-kind=own])") !== null;
  by("tiles").dataset.count = String(by("tiles").childElementCount);
}
