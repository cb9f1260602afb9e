"""The browser script is put together from all of its files."""

from importlib import resources

from sipkit.sandbox.video import script


def test_every_file_is_part_of_the_script() -> None:
    """No file beside the package's module is forgotten, and each is there once, in a scope of its own."""
    beside = {each.name for each in resources.files(script).iterdir() if each.name.endswith(".js")}
    assert sorted(script.FILES) == sorted(beside)
    text = script.script()
    assert text.startswith('"use strict";\n(() => {\n')
    assert text.endswith("})();\n")
    assert all(text.count(f"// {name}\n") == 1 for name in script.FILES)


def test_nothing_is_evaluated_or_loaded_from_elsewhere() -> None:
    """A page's Content-Security-Policy needs no 'unsafe-eval' and no host but the sandbox's."""
    text = script.script()
    for forbidden in (
        "eval(",
        "new Function",
        "innerHTML",
        "https://",
        "importScripts",
        ".cssText",
        'setAttribute("style',
    ):
        assert forbidden not in text, forbidden
