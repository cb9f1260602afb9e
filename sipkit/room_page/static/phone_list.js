// The phones of a room as its hosts see them: a line for each, with a button for whatever can be done to it now.
//
// The host's room page and the host's panel show the same list. The panel's script is one text, in which this one stands
// in front (widgets/face.py); so nothing is imported here.

const DEEDS = [
  ["admit", "Admit", (phone) => phone.waiting],
  ["mute", "Mute", (phone) => !phone.waiting && !phone.muted],
  ["ask-to-unmute", "Ask to unmute", (phone) => !phone.waiting && phone.muted],
  ["lower-hand", "Lower hand", (phone) => phone.hand],
  ["rename", "Rename", () => true],
  ["remove", "Remove", () => true],
];

function nameOf(phone) {
  return phone.name || `Phone ${phone.number}`;
}

function since(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function factsOf(phone) {
  return [
    phone.name && `phone ${phone.number}`,
    phone.host && "host",
    phone.muted && (phone.asked ? "muted, asked to unmute" : "muted"),
    phone.waiting ? "waits to be admitted" : phone.since && `since ${since(phone.since)}`,
  ].filter(Boolean).join(", ");
}

// What is at the door, in words.
export function doorOf(room) {
  if (room.closed) return "The room is closed.";
  const words = [];
  if (room.guessing) words.push("Somebody is guessing PINs: phones with the room's PIN wait until you admit them.");
  if (room.locked) words.push("The room is locked: no further phone is let in.");
  else if (room.lobby) words.push("Phones wait until you admit them.");
  else if (!room.guessing) words.push("Phones with a PIN are let in.");
  if (room.waitsForHost) words.push("They hear music until a host is in.");
  return words.join(" ");
}

// A line lives as long as its phone is there, and only what is new in it is written: a name that is being typed, and the
// place of the keyboard, survive whatever happens meanwhile.
class PhoneLine {
  #tell;
  #who;
  #hand;
  #talks;
  #facts;
  #buttons;
  #naming;
  #phone = {};

  constructor(node, tell) {
    this.node = node;
    this.#tell = tell;
    this.#who = this.#add("span", "sipkit-who");
    this.#hand = this.#add("span", "sipkit-mark", "hand raised");
    this.#talks = this.#add("span", "sipkit-mark");
    this.#facts = this.#add("span", "sipkit-what");
    this.#buttons = DEEDS.map(([deed, label]) => this.#button(deed, label));
    this.#naming = this.#add("form", "sipkit-naming");
    this.#naming.hidden = true;
    this.#naming.addEventListener("submit", (event) => this.#named(event));
    this.#naming.addEventListener("keydown", (event) => event.key === "Escape" && this.#endNaming());
  }

  // The element in this line that has the keyboard, or null.
  get focused() {
    const focused = this.node.getRootNode().activeElement;
    return this.node.contains(focused) ? focused : null;
  }

  // Returns what is news to a host.
  show(phone) {
    const before = this.#phone;
    const focused = this.focused;
    this.#phone = phone;
    this.node.dataset.phone = phone.id;
    this.node.dataset.waiting = String(phone.waiting);
    this.#write(this.#who, nameOf(phone));
    this.#write(this.#facts, factsOf(phone));
    this.#hand.hidden = !phone.hand;
    this.#talks.hidden = !phone.talking;
    this.#write(this.#talks, phone.muted ? "talking, but muted" : "talking");
    for (const [place, [, label, possible]] of DEEDS.entries()) {
      const button = this.#buttons[place];
      button.hidden = !possible(phone) || !this.#naming.hidden;
      button.setAttribute("aria-label", `${label}: ${nameOf(phone)}`);
    }
    if (focused?.hidden) this.#buttons.find((button) => !button.hidden)?.focus();
    const news = [];
    if (phone.waiting && !before.waiting) news.push(`${nameOf(phone)} waits to be admitted`);
    if (phone.hand && !before.hand) news.push(`${nameOf(phone)} raises a hand`);
    return news;
  }

  #add(tag, className, text = "", parent = this.node) {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    parent.append(node);
    return node;
  }

  #write(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  #button(deed, label) {
    const button = this.#add("button", "sipkit-button", label);
    button.type = "button";
    button.dataset.deed = deed;
    button.addEventListener("click", () => {
      if (deed === "rename") this.#beginNaming();
      else this.#tell({ do: deed, phone: this.#phone.id });
    });
    return button;
  }

  #beginNaming() {
    const form = this.#naming;
    form.replaceChildren();
    const name = this.#add("input", "sipkit-name", "", form);
    name.value = this.#phone.name;
    name.maxLength = 64;
    name.setAttribute("aria-label", `New name of phone ${this.#phone.number}`);
    this.#add("button", "sipkit-button", "OK", form);
    const cancel = this.#add("button", "sipkit-button", "Cancel", form);
    cancel.type = "button";
    cancel.addEventListener("click", () => this.#endNaming());
    form.hidden = false;
    this.show(this.#phone);
    name.select();
  }

  #named(event) {
    event.preventDefault();
    const name = this.#naming.querySelector("input").value;
    this.#endNaming();
    this.#tell({ do: "rename", phone: this.#phone.id, name });
  }

  #endNaming() {
    this.#naming.hidden = true;
    this.show(this.#phone);
    this.#buttons.find((button) => button.dataset.deed === "rename").focus();
  }
}

export class PhoneList {
  #list;
  #lines = new Map(); // by the phone's id
  #tell;
  #announce;

  // `tell` hears what a button wants, `announce` what a host should hear read out.
  constructor(list, tell, announce) {
    this.#list = list;
    this.#list.tabIndex = -1; // where the keyboard goes when the line it was in has left
    this.#tell = tell;
    this.#announce = announce;
  }

  show(phones) {
    const here = new Set(phones.map((phone) => phone.id));
    for (const [id, line] of this.#lines) if (!here.has(id)) this.#drop(id, line);
    for (const phone of phones) {
      const line = this.#lines.get(phone.id) ?? this.#begin(phone);
      for (const words of line.show(phone)) this.#announce(words);
    }
  }

  #begin(phone) {
    const node = document.createElement("li");
    node.className = "sipkit-phone";
    this.#list.append(node);
    const line = new PhoneLine(node, this.#tell);
    this.#lines.set(phone.id, line);
    return line;
  }

  #drop(id, line) {
    const { focused } = line;
    line.node.remove();
    this.#lines.delete(id);
    if (focused) this.#list.focus();
  }
}
