"""The forms that settings' values may have: each function accepts what people write and returns the one form we keep.

A `ValueError` says the rule and never the value: it ends in an error that may be shown on a screen.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from sipkit import prices

PEM_MARK = "-----BEGIN "


def e164_digits(value: str) -> str:
    """Accept ``+1 (202) 555-0100`` as people write it; keep ``12025550100`` (ITU-T E.164).

    Raises:
        ValueError: It is no whole international number.
    """
    digits = re.sub(r"[\s().-]", "", value).removeprefix("+")
    if not re.fullmatch(r"[1-9][0-9]{6,14}", digits):
        raise ValueError("must be a whole international number, such as 12025550100 (7 to 15 digits)")
    return digits


def country_prefixes(value: str) -> str | None:
    """Accept ``+1, +44`` with or without plus and comma; keep ``1 44``; None if there is none.

    Raises:
        ValueError: One of them is no prefix of an international number.
    """
    prefixes = [prefix.removeprefix("+") for prefix in re.split(r"[\s,;]+", value.strip()) if prefix]
    if any(not re.fullmatch(r"[1-9][0-9]{0,6}", prefix) for prefix in prefixes):
        raise ValueError("must be country prefixes, such as '+1 +44'")
    return " ".join(prefixes) or None


def address_without_path(value: str) -> str:
    """Keep scheme, host and port of an http(s) address that has nothing more.

    Raises:
        ValueError: It has more, or less.
    """
    rule = "must be http:// or https:// and a host, without path, query or password"
    try:
        parts = urlsplit(value.strip())
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(rule) from None
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not host or parts.path not in {"", "/"} or not plain:
        raise ValueError(rule)
    return f"{parts.scheme}://{parts.netloc}"


def api_address(value: str) -> str:
    """Keep an API's address; one of another machine is asked over https only, for it is sent passwords.

    Raises:
        ValueError: It is no such address.
    """
    address = address_without_path(value)
    if address.startswith("http:") and not loopback(urlsplit(address).hostname or ""):
        raise ValueError("must be an https:// address: secrets are sent there")
    return address


def loopback(host: str) -> bool:
    """Tell whether a host's name means this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def existing_file(value: Path, folder: Path) -> Path:
    """Find a file that a setting names, in `folder` if its path is relative.

    Raises:
        ValueError: There is none.
    """
    path = (folder / value.expanduser()).resolve()
    if not path.is_file():
        raise ValueError("must be the path of a file that is there")
    return path


@lru_cache
def prices_in(path: Path | None) -> prices.Table:
    """Return the price table with a file's rows in it; it is read once in a process.

    Raises:
        ValueError: It cannot be read, or is no such table.
    """
    if path is None:
        return prices.LISTED
    try:
        return prices.table(path.read_text("utf-8"))
    except OSError:
        raise ValueError("must be a file that can be read") from None
    except UnicodeDecodeError:
        raise ValueError("must be a text in UTF-8") from None


def private_key(value: str, folder: Path) -> str:
    r"""Return an RSA private key as PKCS #8 PEM, the one form Vonage's SDK knows as a key.

    Args:
        value: The key's PEM text, with line breaks or with ``\n`` written out as one-line settings have it,
            or the path of its file.
        folder: What a relative path belongs to.

    Raises:
        ValueError: It is neither, or needs a password.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    text = value.strip().replace("\\n", "\n")
    rule = "must be an RSA private key in PEM form without a password, or the path of its file"
    try:
        pem = text.encode() if text.startswith(PEM_MARK) else existing_file(Path(text), folder).read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, OSError):
        raise ValueError(rule) from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(rule)  # noqa: TRY004 - pydantic takes a ValueError for the value's fault, no TypeError
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _given(form: Callable[[Any], Any]) -> AfterValidator:
    return AfterValidator(lambda value: None if value is None else form(value))


def _secret(value: SecretStr) -> SecretStr | None:
    text = value.get_secret_value().strip()
    return SecretStr(text) if text else None


def _folder(info: ValidationInfo) -> Path:
    """The project's root, which is validated before all other fields."""
    return Path(info.data.get("project_root", Path()))


def _key(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if value is None or not value.get_secret_value().strip():
        return None
    return SecretStr(private_key(value.get_secret_value(), _folder(info)))


def _file(value: Path | None, info: ValidationInfo) -> Path | None:
    return None if value is None else existing_file(value, _folder(info))


def _price_table(value: Path | None, info: ValidationInfo) -> Path | None:
    path = _file(value, info)
    prices_in(path)
    return path


Word: Final = BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value)
"""One word out of a few, in any case."""

Text = Annotated[str | None, _given(lambda value: value.strip() or None)]
Secret = Annotated[SecretStr | None, _given(_secret)]
Number = Annotated[str | None, _given(e164_digits)]
Prefixes = Annotated[str | None, _given(country_prefixes)]
Address = Annotated[str | None, _given(address_without_path)]
ApiAddress = Annotated[str | None, _given(api_address)]
PrivateKey = Annotated[SecretStr | None, AfterValidator(_key)]
ExistingFile = Annotated[Path | None, AfterValidator(_file)]
PriceTable = Annotated[Path | None, AfterValidator(_price_table)]
