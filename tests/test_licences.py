"""What `pip install` of the kit brings along may be used, changed and handed on under terms like the kit's own."""

import mmap
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

KIT = "sipkit-notebooks"

FREE = re.compile(
    r"\b(0BSD|Apache|BSD|CC0-1\.0|ISC|MIT|MIT-0|MPL-2\.0|Mozilla Public License 2\.0|PSF-2\.0|PSFL"
    r"|Python Software Foundation License|Zlib|Zope Public License)\b"
)
"""Licences without copyleft, or (MPL 2.0: certifi and fqdn) with one that ends at their own files."""

COPYLEFT = re.compile(r"GPL|GNU [\w ]*General Public", re.IGNORECASE)

GPL_TEXTS = {
    "numpy": "its wheel carries GCC's libgfortran (GPL 3 with the runtime library exception, which lets any program "
    "be linked with it) and libquadmath (LGPL 2.1, a file of its own that can be replaced)",
    "soundfile": "its wheel carries libsndfile with LAME and mpg123 (LGPL 2.1), a file of its own that can be replaced",
}
"""Who may ship the text of a GNU licence among its licence files, and why that binds nobody."""

GPL_LIBRARIES = re.compile(r"(lib)?(x264|x265|xvidcore|vidstab|rubberband|postproc|pjsua|pjsip|espeak)", re.IGNORECASE)
"""Media libraries under the GPL, as they are named inside wheels (libx264-d6533a8d.so.165)."""

GPL_BUILDS = [b"--enable-gpl", b"--enable-libx264", b"--enable-libx265"]
"""How FFmpeg was configured if it needs code under the GPL; its libraries keep that line."""

GPL_HEADING = re.compile(r"GNU (LESSER |AFFERO )?GENERAL PUBLIC LICENSE\s+Version \d")
"""How the text of such a licence begins; others' texts only mention it."""


def closure() -> dict[str, Distribution]:
    """Everything the kit's default install needs, directly or through others, as it is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [(KIT, frozenset[str]())]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for requirement in map(Requirement, found[name].requires or []):
            environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def declared(dist: Distribution) -> list[str]:
    """The licences a distribution declares: its SPDX expression, else its classifiers, else its free text."""
    told = dist.metadata
    if told["License-Expression"]:
        return [told["License-Expression"]]
    classifiers = [line.split(" :: ")[-1] for line in told.get_all("Classifier", []) if line.startswith("License ::")]
    return classifiers or (told["License"] or "").strip().splitlines()[:1]


def files(dist: Distribution) -> Iterator[Path]:
    """The files a distribution installed."""
    for file in dist.files or []:
        path = Path(str(dist.locate_file(file)))
        if path.is_file():
            yield path


def is_library(path: Path) -> bool:
    """Whether a file is compiled code: libx.so.1.2, x.dylib, x.dll, x.pyd."""
    return bool(re.search(r"\.(so(\.[0-9.]+)?|dylib|dll|pyd)$", path.name))


@pytest.fixture(scope="module")
def installed() -> dict[str, Distribution]:
    """The closure; where the kit runs from its folder without having been installed there is none to look at."""
    try:
        return closure()
    except PackageNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed: `make test` installs the kit first")


def test_all_of_the_closure_is_looked_at(installed: dict[str, Distribution]) -> None:
    """The closure reaches through extras and through others' needs, and leaves the test tools out."""
    direct, through_others = {"aioice", "pylibsrtp", "pyopenssl", "segno"}, {"cffi", "cryptography", "dnspython"}
    assert direct | through_others <= installed.keys()
    assert not {"hypothesis", "mypy", "playwright", "ruff"} & installed.keys()


def test_everything_declares_a_free_licence_and_none_the_gpl(installed: dict[str, Distribution]) -> None:
    """Each distribution of the default install declares a licence of the list above, and no GPL, LGPL or AGPL."""
    licences = {name: " / ".join(declared(dist)) for name, dist in installed.items()}
    assert {name: text for name, text in licences.items() if COPYLEFT.search(text)} == {}
    assert {name: text for name, text in licences.items() if not FREE.search(text)} == {}


def test_no_licence_file_brings_the_gpl_by_the_back_door(installed: dict[str, Distribution]) -> None:
    """A wheel may carry other people's code: who ships the text of a GNU licence is known, with the reason."""
    named = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
    carriers = {
        name
        for name, dist in installed.items()
        for path in files(dist)
        if named.search(path.name) and path.suffix not in {".py", ".pyc", ".js"}
        if GPL_HEADING.search(path.read_text("utf-8", "replace"))
    }
    assert carriers == GPL_TEXTS.keys()


def test_no_compiled_library_is_under_the_gpl(installed: dict[str, Distribution]) -> None:
    """No shared library of the default install is an encoder under the GPL, or an FFmpeg built with one.

    Declared licences do not tell that: the wheel of av (PyAV) declares BSD and carries x264 and x265, which are
    under the GPL. aiortc needs av; so the sandbox speaks WebRTC with pylibsrtp, pyOpenSSL and aioice instead.
    """
    libraries = [path for dist in installed.values() for path in files(dist) if is_library(path)]
    assert len(libraries) > 20
    assert [path.name for path in libraries if GPL_LIBRARIES.match(path.name)] == []
    assert [path.name for path in libraries if _contains(path, GPL_BUILDS)] == []


def test_the_postgresql_driver_stays_out(installed: dict[str, Distribution]) -> None:
    """Psycopg is under the LGPL: it comes with the extra `postgresql`, to whoever asks for it, and to nobody else."""
    assert not {"psycopg", "psycopg-binary"} & installed.keys()


def test_aiortc_and_av_stay_out(installed: dict[str, Distribution]) -> None:
    """Neither aiortc nor av is installed with the kit: av's wheel carries x264 and x265, which are under the GPL."""
    assert not {"aiortc", "av"} & installed.keys()


@pytest.mark.parametrize("name", ["libx264-d6533a8d.so.165", "libx265-f5385bb8.so.216", "libx264-165.dll"])
def test_a_library_under_the_gpl_would_be_seen(name: str) -> None:
    """The names that such libraries have inside wheels are taken for libraries, and for what they are."""
    assert is_library(Path(name))
    assert GPL_LIBRARIES.match(name)


def _contains(path: Path, needles: list[bytes]) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(needle) >= 0 for needle in needles)
