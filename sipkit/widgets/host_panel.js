// The host's list of phones. It shows the traits of HostView; its buttons tell Python what is wanted.

const DOOR_WORDS = { open: "open", closed: "closed" };

function drawPhone(list, phone, tell) {
  const who = phone.name || `Phone ${phone.number}`;
  const row = add(list, "li", "sipkit-phone");
  const words = [phone.name && `phone ${phone.number}`, phone.host && "host", phone.muted && "muted"];
  words.push(phone.waiting ? "waits to be admitted" : `since ${phone.since}`);
  add(row, "span", "sipkit-who", who);
  add(row, "span", "sipkit-what", words.filter(Boolean).join(", "));
  const deeds = phone.waiting ? ["admit", "remove"] : phone.muted ? ["remove"] : ["mute", "remove"];
  for (const deed of deeds) {
    const button = add(row, "button", "sipkit-button", deed[0].toUpperCase() + deed.slice(1));
    button.setAttribute("aria-label", `${button.textContent} ${who}`);
    button.addEventListener("click", () => {
      button.disabled = true;
      tell({ do: deed, leg: phone.leg });
    });
  }
  const rename = add(row, "button", "sipkit-button", "Rename");
  rename.setAttribute("aria-label", `Rename ${who}`);
  rename.addEventListener("click", () => drawNaming(row, phone, tell));
}

function drawNaming(row, phone, tell) {
  row.replaceChildren();
  const form = add(row, "form", "sipkit-naming");
  const name = add(form, "input", "sipkit-name");
  name.value = phone.name;
  name.maxLength = 64;
  name.setAttribute("aria-label", `New name of phone ${phone.number}`);
  add(form, "button", "sipkit-button", "OK");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tell({ do: "rename", leg: phone.leg, name: name.value });
  });
  name.focus();
}

function doorOf(model) {
  if (model.get("state") === "closed") return "The room is closed.";
  if (model.get("guessing")) return "Somebody is guessing PINs: phones with the room's PIN wait until you admit them.";
  if (model.get("locked")) return "The room is locked: no further phone is let in.";
  return model.get("lobby") ? "Phones wait until you admit them." : "Phones with a PIN are let in.";
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Host's panel of room ${model.get("room")}`);
  const head = drawHead(box, model, { title: model.get("room"), states: DOOR_WORDS, modes: CALL_MODES });
  const door = add(box, "p", "sipkit-door");
  door.setAttribute("aria-live", "polite");
  const nobody = add(box, "p", "sipkit-nobody", "No phone is here.");
  const list = add(box, "ul", "sipkit-phones");
  const complain = drawBanner(box);
  const tell = (news) => model.send(news);
  const listPhones = () => {
    list.replaceChildren();
    for (const phone of model.get("phones")) drawPhone(list, phone, tell);
    nobody.hidden = model.get("phones").length > 0;
  };
  const show = () => {
    head.show();
    write(door, doorOf(model));
    complain(model.get("error"));
  };
  // A deed that failed leaves the list as it is, and its button must be there to be pressed again.
  const again = () => model.get("error") && listPhones();
  model.on("change", show);
  model.on("change:phones", listPhones);
  model.on("change:error", again);
  show();
  listPhones();
  return () => {
    model.off("change", show);
    model.off("change:phones", listPhones);
    model.off("change:error", again);
  };
}

export default { render };
