// The event log: a list that grows at its end. Only new lines are added, so a screen reader reads each once.

function render({ model, el }) {
  const box = add(el, "section", "sipkit-events");
  const title = add(box, "h4", "", model.get("title"));
  title.id = `sipkit-events-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
  const complain = drawBanner(box);
  const log = add(box, "div", "sipkit-events-log");
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "polite");
  log.setAttribute("aria-labelledby", title.id);
  log.tabIndex = 0; // a keyboard has to be able to scroll it

  let shown = [];
  const show = () => {
    const entries = model.get("entries");
    const follow = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    // The list only ever loses lines at its start; find where what is shown begins in it.
    const same = (a, b) => a.at === b.at && a.kind === b.kind && a.text === b.text;
    while (shown.length > 0 && !shown.every((line, i) => entries[i] && same(line, entries[i]))) {
      shown = shown.slice(1);
      log.firstElementChild.remove();
    }
    for (const line of entries.slice(shown.length)) {
      const row = add(log, "div", "sipkit-event");
      add(row, "span", "sipkit-event-at", line.at);
      add(row, "span", "sipkit-event-text", line.text);
      row.title = line.kind;
    }
    shown = [...entries];
    if (follow) log.scrollTop = log.scrollHeight;
    complain(model.get("error"));
  };
  model.on("change", show);
  show();
  return () => model.off("change", show);
}

export default { render };
