// A player for one recording. Tells the kernel when it plays and when it has played to the end.

function render({ model, el }) {
  const box = add(el, "figure", "sipkit-recording");
  add(box, "figcaption", "", model.get("title"));
  const player = add(box, "audio", "");
  const url = URL.createObjectURL(new Blob([model.get("sound")], { type: "audio/wav" }));
  player.controls = true;
  player.preload = "metadata";
  player.src = url;
  player.setAttribute("aria-label", model.get("title"));
  add(box, "p", "", `${model.get("length")}: ${model.get("verdict")}`);

  const tell = (state) => () => {
    model.set("state", state);
    model.save_changes();
  };
  player.addEventListener("play", tell("playing"));
  player.addEventListener("ended", tell("played"));
  return () => {
    player.pause();
    URL.revokeObjectURL(url);
  };
}

export default { render };
