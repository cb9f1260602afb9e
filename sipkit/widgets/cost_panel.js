// What a room costs. It shows the traits of CostView; the export is saved by the page, so it works while a cell runs.

const COST_WORDS = { idle: "nothing is charged now", running: "being charged", closed: "closed" };
const COST_MODES = { sandbox: "sandbox: nothing is billed", live: "live: estimated from list prices" };

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [480, 160, 56, 24, 12];

function draw(parent, tag, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

// A round figure at or above: 1, 2 or 5 and zeros.
function above(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * ten).find((step) => step >= value * 0.9999);
}

function drawCurves(svg, curves) {
  svg.replaceChildren();
  svg.setAttribute("aria-label", described(curves));
  const last = Math.max(1, ...curves.flatMap(({ points }) => points.map(([minute]) => minute)));
  const most = above(Math.max(0.0001, ...curves.flatMap(({ points }) => points.map(([, sum]) => sum))));
  const x = (minute) => LEFT + (minute / last) * (WIDTH - LEFT - 8);
  const y = (sum) => HEIGHT - BOTTOM - (sum / most) * (HEIGHT - BOTTOM - TOP);
  for (const part of [0, 0.5, 1]) {
    draw(svg, "line", { class: "sipkit-grid", x1: LEFT, x2: WIDTH - 8, y1: y(part * most), y2: y(part * most) });
    draw(svg, "text", { x: LEFT - 6, y: y(part * most) + 4, "text-anchor": "end" }, String(+(part * most).toPrecision(3)));
    draw(svg, "text", { x: x(part * last), y: HEIGHT - 6, "text-anchor": "middle" }, String(+(part * last).toFixed(1)));
  }
  curves.forEach(({ points }, number) => {
    const steps = points.map(([minute, sum]) => `${x(minute).toFixed(1)},${y(sum).toFixed(1)}`).join(" ");
    draw(svg, "polyline", { class: "sipkit-curve", "data-curve": number, points: steps });
  });
}

function described(curves) {
  const ends = curves.map(({ currency, points }) => {
    const [minutes, sum] = points[points.length - 1];
    return `${sum.toFixed(4)} ${currency} after ${minutes.toFixed(1)} minutes`;
  });
  return `The sum over time: ${ends.join(", ") || "nothing yet"}`;
}

function drawKey(key, curves) {
  key.replaceChildren();
  curves.forEach(({ currency }, number) => {
    const item = add(key, "li", "");
    const sample = draw(item, "svg", { viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" });
    draw(sample, "polyline", { class: "sipkit-curve", "data-curve": number, points: "0,4 28,4" });
    add(item, "span", "", currency);
  });
  key.hidden = curves.length === 0;
}

function drawLegs(body, legs) {
  body.replaceChildren();
  for (const leg of legs) {
    const row = add(body, "tr", leg.running ? "sipkit-running" : "");
    for (const text of [leg.kind, leg.who, leg.time, leg.amount]) add(row, "td", "", text);
  }
}

function table(box) {
  const details = add(box, "details", "sipkit-legs");
  const summary = add(details, "summary", "");
  const sheet = add(details, "table", "");
  add(sheet, "caption", "sipkit-spoken", "Each leg and what it costs");
  const head = add(add(sheet, "thead", ""), "tr", "");
  for (const name of ["kind", "whose", "time", "cost"]) add(head, "th", "", name).scope = "col";
  return { summary, body: add(sheet, "tbody", "") };
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function render({ model, el }) {
  const room = model.get("room");
  const box = add(el, "section", "sipkit-view");
  box.setAttribute("aria-label", `Costs of room ${room}`);
  const head = drawHead(box, model, { title: `Costs of ${room}`, states: COST_WORDS, modes: COST_MODES });
  const total = add(box, "p", "sipkit-total");
  const rate = add(box, "p", "sipkit-rate");
  const budget = add(box, "p", "sipkit-budget");
  const label = add(budget, "label", "");
  const words = add(label, "span", "");
  const bar = add(label, "progress", "");
  bar.max = 1;
  const warn = drawBanner(box);
  const figure = add(box, "figure", "sipkit-plot");
  const svg = draw(figure, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  add(figure, "figcaption", "", "The sum (each currency by its own measure) over minutes");
  const key = add(figure, "ul", "sipkit-key");
  const legs = table(box);
  const rental = add(box, "p", "sipkit-rental");
  const button = add(box, "button", "sipkit-button", "Export CSV");
  button.addEventListener("click", () => save(`costs of ${room}.csv`, model.get("csv")));
  const complain = drawBanner(box);
  const show = () => {
    head.show();
    write(total, `${model.get("estimate") ? "about " : ""}${model.get("total")}`);
    write(rate, model.get("rate") && `another minute: ${model.get("rate")}`);
    const used = model.get("used");
    budget.hidden = model.get("budget") === "";
    write(words, `Budget: ${model.get("budget")}; ${Math.floor(100 * used)} % used`);
    bar.value = Math.min(1, used);
    warn(model.get("warning"));
    write(legs.summary, `Each leg (${model.get("legs").length})`);
    write(rental, `Besides, in no sum: the number's rental, ${model.get("rental")}.`);
    rental.hidden = model.get("legs").length === 0;
    complain(model.get("error"));
  };
  const plot = () => {
    drawCurves(svg, model.get("plot"));
    drawKey(key, model.get("plot"));
  };
  const list = () => drawLegs(legs.body, model.get("legs"));
  const watched = { change: show, "change:plot": plot, "change:legs": list };
  for (const [event, follow] of Object.entries(watched)) {
    model.on(event, follow);
    follow();
  }
  return () => Object.entries(watched).forEach(([event, follow]) => model.off(event, follow));
}

export default { render };
