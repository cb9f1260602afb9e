// Who is in the room: browsers by the name they gave, phones by the last digits of their number.

import { add, announce, by, write } from "./page.js";

// What a connection's token says of it. Anything may stand there, so nothing is taken for granted.
export function whoIs(connection) {
  let data = {};
  try {
    data = JSON.parse(connection?.data ?? "") ?? {};
  } catch {
    // A connection of another program, with data of its own.
  }
  const name = typeof data.name === "string" ? data.name.trim().slice(0, 40) : "";
  if (data.sip === true) return { name: "Phone line", kind: "phone", role: "" };
  return { name: name || "Somebody", kind: "person", role: data.role === "host" ? "host" : "" };
}

export class Roster {
  #people = new Map(); // key -> { node, name }, both elements

  join(key, who, note = "") {
    if (this.#people.has(key)) return;
    const node = add(by("roster"), "li");
    node.dataset.kind = who.kind;
    const name = add(node, "span", "name", who.name);
    const role = [who.role, note].filter(Boolean).join(", ");
    if (role) add(node, "span", "note", role);
    this.#people.set(key, { node, name });
    this.#changed();
    if (note !== "you") announce(`${who.name} is here`);
  }

  leave(key) {
    const person = this.#people.get(key);
    if (!person) return;
    person.node.remove();
    this.#people.delete(key);
    this.#changed();
    announce(`${person.name.textContent} has left`);
  }

  // The phones, as the server knows them; to hosts it also tells what they are called.
  phones(callers) {
    const here = new Set(callers.map((caller) => `phone ${caller.id}`));
    for (const key of [...this.#people.keys()]) {
      if (key.startsWith("phone ") && !here.has(key)) this.leave(key);
    }
    for (const caller of callers) {
      const [key, name] = [`phone ${caller.id}`, caller.name || `Phone ${caller.number}`];
      this.join(key, { name, kind: "caller", role: "" });
      write(this.#people.get(key).name, name);
    }
  }

  // Everybody whose presence only the session told of.
  forgetSession() {
    for (const [key, person] of [...this.#people]) {
      if (key.startsWith("phone ")) continue;
      person.node.remove();
      this.#people.delete(key);
    }
    this.#changed();
  }

  #changed() {
    by("nobody").hidden = this.#people.size > 0;
  }
}
