// Small helpers around the document. Whatever people typed goes into the page as text, never as HTML.

export const by = (id) => document.getElementById(id);

// Screen readers announce what changes, so nothing is written twice.
export function write(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function add(parent, tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

export function showError(text) {
  const banner = by("error");
  write(banner, text);
  banner.hidden = text === "";
}

// News is read out once and shown nowhere; only the last few lines are kept.
export function announce(text) {
  const log = by("news");
  add(log, "span", "", `${text}. `);
  while (log.childElementCount > 5) log.firstElementChild.remove();
}
