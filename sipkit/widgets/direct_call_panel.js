// The upper part of the panel of direct calls. It shows the traits of DirectCallView and never changes them.

const STATES = {
  ...CALL_WORDS,
  asking: "waiting for your yes",
  calling: "the phone is called",
};

function render({ model, el }) {
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Direct call from room ${model.get("room")}`);
  const head = drawHead(box, model, { title: model.get("room"), states: STATES, modes: CALL_MODES });
  const news = add(box, "p", "sipkit-callers");
  news.setAttribute("aria-live", "polite");
  const ask = drawBanner(box);
  const complain = drawBanner(box);

  const show = () => {
    head.show();
    const number = model.get("number");
    write(news, [number && `Phone ${number}.`, model.get("news")].filter(Boolean).join(" "));
    ask(model.get("question"));
    complain(model.get("error"));
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
