"""A widget's view in a page of its own, without JupyterLab: its real script and style over its real Python side."""

from typing import Any

from anywidget import AnyWidget
from playwright.sync_api import Page

from tests.standins.browser import ServePages

HTML = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>A panel</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="view.css"><style>{theme}</style>
<main class="sipkit-panel"></main>
<script type="module">
import view from "./view.js";

const heard = new Map();
let traits = await window.traits();
const model = {{
  get: (name) => traits[name],
  send: (message) => window.told(message),
  on: (what, hear) => heard.set(hear, what),
  off: (_what, hear) => heard.delete(hear),
}};
view.render({{ model, el: document.querySelector("main") }});
setInterval(async () => {{
  const before = traits;
  traits = await window.traits();
  const changed = Object.keys(traits).filter((name) => JSON.stringify(traits[name]) !== JSON.stringify(before[name]));
  for (const [hear, what] of heard) {{
    if (changed.length && (what === "change" || changed.includes(what.slice("change:".length)))) hear();
  }}
}}, 100);
</script>
</html>
"""

DARK = """:root { --jp-layout-color1: #111; --jp-layout-color2: #212121; --jp-ui-font-color0: #fff;
  --jp-border-color1: #757575; --jp-border-color2: #616161; }"""
"""JupyterLab's dark theme, as far as the panels use it."""


def show(page: Page, view: AnyWidget, serve: ServePages, theme: str = "") -> None:
    """Show a view in a page; while the test waits for something there, traits and messages go to and fro."""
    names = [name for name in view.keys if not name.startswith("_")]

    def traits() -> dict[str, Any]:
        return {name: value for name in names if not hasattr(value := getattr(view, name), "comm")}

    page.expose_function("traits", traits)
    page.expose_function("told", lambda message: view._handle_custom_msg(message, []))
    page.goto(serve({"index.html": HTML.format(theme=theme), "view.js": str(view._esm), "view.css": str(view._css)}))
