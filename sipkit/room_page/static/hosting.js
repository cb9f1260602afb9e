// The part of a host's page that guests do not have: the phones, and the door.

import { announce, by, showError, write } from "./page.js";
import { doorOf, PhoneList } from "./phone_list.js";

const SWITCHES = [["lock", "locked"], ["use-lobby", "lobby"], ["wait-for-host", "waits_for_host"]]; // pressed means on

export class Hosting {
  #api;
  #phones;
  #door = {};

  constructor(api) {
    this.#api = api;
    this.#phones = new PhoneList(by("phones"), (news) => this.#doTo(news), announce);
    for (const [id, name] of SWITCHES) {
      by(id).addEventListener("click", () => this.#ask("door", { [name]: !this.#door[name] }));
    }
  }

  // What the server says of the room: of each poll, and after whatever was done.
  show(room) {
    this.#door = room;
    this.#phones.show(room.phones);
    by("no-phones").hidden = room.phones.length > 0;
    for (const [id, name] of SWITCHES) by(id).setAttribute("aria-pressed", String(room[name]));
    write(by("door"), doorOf({ ...room, waitsForHost: room.waits_for_host }));
  }

  // Nobody can do anything any more.
  end() {
    this.#phones.show([]);
    by("hosting").hidden = true;
  }

  #doTo({ phone, do: deed, name }) {
    this.#ask(`phones/${phone}/${deed}`, deed === "rename" ? { name } : {});
  }

  async #ask(what, body) {
    showError("");
    try {
      const told = await this.#api.post(what, body);
      this.show(told.hosting);
      write(by("word"), told.words ?? "");
    } catch (error) {
      showError(error.message);
    }
  }
}
