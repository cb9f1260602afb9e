// The host's panel. It shows the traits of HostView; its buttons tell Python what is wanted.

const DOOR_WORDS = { open: "open", closed: "closed" };

function countOf(phones) {
  const waiting = phones.filter((phone) => phone.waiting).length;
  const hands = phones.filter((phone) => phone.hand).length;
  const words = [`${phones.length} ${phones.length === 1 ? "phone" : "phones"}`];
  if (waiting) words.push(`${waiting} to be admitted`);
  if (hands) words.push(`${hands} ${hands === 1 ? "hand" : "hands"} raised`);
  return phones.length ? words.join(", ") : "No phone is here.";
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Host's panel of room ${model.get("room")}`);
  const head = drawHead(box, model, { title: model.get("room"), states: DOOR_WORDS, modes: CALL_MODES });
  const door = add(box, "p", "sipkit-door");
  door.setAttribute("role", "status");
  const count = add(box, "p", "sipkit-count");
  const counted = add(count, "span", "");
  const why = model.get("why_no_talking");
  if (why) {
    const silence = add(count, "span", "sipkit-silence", "Who talks is not shown.");
    silence.title = why;
    silence.setAttribute("aria-description", why);
  }
  const list = add(box, "ul", "sipkit-phones");
  list.setAttribute("aria-label", "Phones");
  const word = add(box, "p", "sipkit-word");
  word.setAttribute("role", "status");
  const news = add(box, "p", "sipkit-spoken");
  news.setAttribute("role", "log");
  const complain = drawBanner(box);
  const announce = (text) => {
    add(news, "span", "", `${text}. `);
    while (news.childElementCount > 5) news.firstElementChild.remove();
  };
  const phones = new PhoneList(list, (wish) => model.send(wish), announce);
  const show = () => {
    head.show();
    const [locked, lobby, guessing] = ["locked", "lobby", "guessing"].map((name) => model.get(name));
    const closed = model.get("state") === "closed";
    write(door, doorOf({ closed, locked, lobby, guessing, waitsForHost: model.get("waits_for_host") }));
    write(word, model.get("word"));
    complain(complaint(model));
  };
  const listPhones = () => {
    phones.show(model.get("phones"));
    write(counted, countOf(model.get("phones")));
  };
  model.on("change", show);
  model.on("change:phones", listPhones);
  show();
  listPhones();
  return () => {
    model.off("change", show);
    model.off("change:phones", listPhones);
  };
}

export default { render };
