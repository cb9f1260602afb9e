"""Read the fields of one NCCO action with their types, and say in words what is wrong with one."""

from typing import Any

JsonObject = dict[str, Any]


class InvalidNcco(ValueError):
    """The document breaks the reference; the text is the platform's error event's reason."""


class Fields:
    """The fields of one action."""

    def __init__(self, action: str, item: JsonObject) -> None:
        self._action = action
        self._item = item

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self._item.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidNcco(f"{self._action} needs {name}, a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a flag; the reference writes some as text."""
        value = self._item.get(name, default)
        if isinstance(value, str) and value in ("true", "false"):
            value = value == "true"
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number within its bounds."""
        value = self._item.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.wrong(name, "must be a number")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self.wrong(name, "must be a number") from None
        if not low <= number <= high:
            raise self.wrong(name, f"must be {low:g} to {high:g}")
        return number

    def choice(self, name: str, default: str, *values: str) -> str:
        """Return one of some words."""
        value = self._item.get(name) or default
        if value not in values:
            raise self.wrong(name, f"must be {' or '.join(values)}")
        return str(value)

    def method(self) -> str:
        """Return ``eventMethod``."""
        return self.choice("eventMethod", "POST", "GET", "POST")

    def url(self, name: str) -> str | None:
        """Return a URL, which the reference writes as a list of one; None when it is not there."""
        value = self._item.get(name)
        if value is None:
            return None
        urls = value if isinstance(value, list) else [value]
        if len(urls) != 1 or not isinstance(urls[0], str) or not urls[0].startswith(("http://", "https://")):
            raise self.wrong(name, "must be a list of one URL")
        return urls[0]

    def legs(self, name: str) -> frozenset[str] | None:
        """Return a list of leg ids as a set; None when it is not there."""
        value = self._item.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(name, "must be a list of leg ids")
        return frozenset(value)

    def raw(self, name: str) -> Any:
        """Return whatever is there."""
        return self._item.get(name)

    def sub(self, name: str) -> "Fields":
        """Return the fields of an object; it may be missing."""
        value = self._item.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Fields(f"{self._action}.{name}", value)

    def given(self) -> list[str]:
        """Return the names of the fields that have a value."""
        return [name for name, value in self._item.items() if value is not None]

    def refuse(self, *names: str) -> None:
        """Refuse options of the platform that the sandbox does not have."""
        for name in names:
            if self._item.get(name):
                raise self.wrong(name, "is not in the sandbox")

    def wrong(self, name: str, what: str) -> InvalidNcco:
        """Make the error for one field."""
        return InvalidNcco(f"{name} of {self._action} {what}")
