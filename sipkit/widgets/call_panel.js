// The upper part of the call panel. It shows the traits of CallView and never changes them.

function fact(list, name) {
  const row = add(list, "div", "sipkit-fact");
  add(row, "dt", "", name);
  const value = add(row, "dd", "");
  const seen = add(value, "span", "sipkit-big");
  const spoken = add(value, "span", "sipkit-spoken");
  seen.setAttribute("aria-hidden", "true");
  return (text) => {
    write(seen, text);
    write(spoken, [...text].join(" ")); // "one two three four", not "one thousand two hundred …"
  };
}

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Call panel of room ${model.get("room")}`);
  const head = drawHead(box, model, { title: model.get("room"), states: CALL_WORDS, modes: CALL_MODES });
  const facts = add(box, "dl", "sipkit-facts");
  const number = fact(facts, "Call this number");
  const pin = fact(facts, "and key this PIN, then #");
  const callers = add(box, "p", "sipkit-callers");
  callers.setAttribute("aria-live", "polite");
  const cost = add(box, "p", "sipkit-cost");
  const complain = drawBanner(box);

  const show = () => {
    head.show();
    number(model.get("number"));
    pin(model.get("pin"));
    const count = model.get("callers");
    write(callers, count === 1 ? "1 phone in the conversation" : `${count} phones in the conversation`);
    write(cost, model.get("cost"));
    cost.hidden = model.get("cost") === "";
    complain(complaint(model));
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
