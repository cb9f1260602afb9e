"""What `import sipkit` costs and shows."""

import subprocess
import sys
import time

import sipkit


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_public_name_can_be_imported() -> None:
    """Each name in `__all__` is there, and nothing else is offered."""
    for name in sipkit.__all__:
        assert getattr(sipkit, name) is not None
    assert sorted(sipkit.__all__) == dir(sipkit)
    assert not hasattr(sipkit, "Telephone")


def test_import_is_fast() -> None:
    """`from sipkit import Switchboard` takes at most 0.6 s in a fresh process (best of five)."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        _python("from sipkit import Switchboard")
        took.append(time.perf_counter() - began)
    assert min(took) <= 0.6, took


def test_import_loads_no_slow_library() -> None:
    """No SDK, database or web framework is loaded before it is used."""
    slow = (
        "{'aiohttp', 'aioice', 'flask', 'itsdangerous', 'numpy', 'OpenSSL', 'opentok', 'pydantic', 'pylibsrtp',"
        " 'requests', 'segno', 'sqlalchemy', 'vonage_voice'}"
    )
    code = f"import sys; from sipkit import Switchboard; print(sorted({slow} & set(sys.modules)))"
    assert _python(code).strip() == "[]"


def test_webrtc_costs_the_start_of_the_sandbox_little() -> None:
    """Beside what the sandbox loads anyway, its WebRTC libraries take at most 0.2 s of CPU (best of three).

    They are loaded at the start (about 0.09 s) and not with the first browser: that would hold up the one event
    loop, and with it every call's sound, for five frames of 20 ms.
    """
    code = (
        "import time, aiohttp.web, cryptography.x509, numpy, sipmessage, trustme; began = time.process_time();"
        "import OpenSSL.SSL, aioice.stun, pylibsrtp; print(time.process_time() - began)"
    )
    assert min(float(_python(code)) for _ in range(3)) <= 0.2


def test_video_and_voice_load_no_sdk_by_themselves() -> None:
    """The webhook server's process can import the video side for its farewell without paying for the SDK."""
    code = "import sys; import sipkit.video, sipkit.voice; print({'opentok', 'requests'} & set(sys.modules))"
    assert _python(code).strip() == "set()"
