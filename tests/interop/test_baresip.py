"""baresip, a softphone that shares no code with the kit, dials the number, keys a PIN, is heard and hears."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Asked
from tests.standins.lab import Lab, wait_for

MODULES = Path("/usr/lib/baresip/modules")
OWN_TONE = 1000
OTHER_TONE = 440
PIN = "8067"
CONFIG = """
poll_method epoll
net_interface 127.0.0.1
sip_listen 127.0.0.1:0
sip_cafile {ca}
sip_verify_server yes
call_max_calls 1
audio_source aufile,{tone}
audio_player none
ausrc_srate 8000
ausrc_channels 1
auplay_srate 8000
auplay_channels 1
snd_path {folder}
ctrl_tcp_listen 127.0.0.1:{port}
module_path {modules}
module g711.so
module aufile.so
module sndfile.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
"""


class Baresip:
    """A running baresip, driven over its control socket (JSON in netstrings)."""

    def __init__(
        self, program: str, folder: Path, info: SandboxInfo, transport: str, password: str | None = None
    ) -> None:
        self.folder = folder
        self._program = program
        (folder / "tone.wav").write_bytes(ear.make_wav(ear.tone(OWN_TONE, 30)))
        self._port = _free_port()
        config = CONFIG.format(
            ca=info.ca_file, tone=folder / "tone.wav", folder=folder, port=self._port, modules=MODULES
        )
        route = f"sip:{getattr(info, f'sip_{transport}')};transport={transport}"
        account = (
            f"<sip:12025550188@sip.nexmo.com;transport={transport}>;regint=0;audio_codecs=pcma"
            f';auth_user={info.carrier_user};auth_pass={password or info.carrier_password};outbound="{route}"\n'
        )
        for name, text in (("config", config), ("accounts", account), ("contacts", "")):
            (folder / name).write_text(text)
        self._control: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> Self:
        with (self.folder / "screen.log").open("wb") as screen:
            command = [self._program, "-f", str(self.folder)]
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen
            )

        def connected() -> bool:
            assert self._process.poll() is None, self.complaint()
            try:
                self._control = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            except ConnectionRefusedError:
                return False
            return True

        wait_for(connected, 10, "baresip's control socket")
        return self

    def __exit__(self, *_: object) -> None:
        if self._control is not None:
            self._control.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def command(self, name: str, parameters: str = "") -> None:
        """Give a command, as typed into its menu."""
        assert self._control is not None
        text = json.dumps({"command": name, "params": parameters}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def wait_event(self, kind: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait for an event of a type such as CALL_ESTABLISHED."""
        assert self._control is not None
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            message = self._next()
            if message is None:
                self._control.settimeout(left)
                try:
                    self._received += self._control.recv(65536)
                except TimeoutError:
                    break
            elif message.get("type") == kind:
                return message
        raise AssertionError(f"no {kind} in {timeout:g} s\n{self.complaint()}")

    def _next(self) -> dict[str, Any] | None:
        length, colon, rest = self._received.partition(b":")
        if not colon or len(rest) <= int(length):
            return None
        self._received = rest[int(length) + 1 :]
        return dict(json.loads(rest[: int(length)]))

    def heard(self) -> ear.Sound:
        """Return what it decoded so far."""
        files = sorted(self.folder.glob("dump*dec.wav"))
        if not files:
            return np.zeros(0)
        raw = files[-1].read_bytes()[44:]
        return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.float64) / 32768

    def complaint(self) -> str:
        """Return what it wrote to its screen."""
        return (self.folder / "screen.log").read_text(errors="replace")[-3000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.foreign_phone
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_baresip_joins_by_pin(lab: Lab, app: AnsweringApp, baresip: str, tmp_path: Path, transport: str) -> None:
    """Baresip authenticates, keys the PIN, is heard by the session's participant, hears it, and hangs up."""
    session = lab.session()

    def answer(asked: Asked) -> list[dict[str, Any]]:
        if "SipHeader_X-OpenTok-SessionId" in asked.fields:
            return [{"action": "conversation", "name": session, "endOnExit": True}]
        dtmf = {"maxDigits": 4, "timeOut": 8}
        return [{"action": "input", "type": ["dtmf"], "dtmf": dtmf, "eventUrl": [f"{app.url}/input"]}]

    app.on("/answer", answer)
    app.on("/input", [{"action": "conversation", "name": session}])
    participant = lab.participant(session, tone_hz=OTHER_TONE)
    lab.sip_dial(session)
    lab.wait_joined(1)
    with Baresip(baresip, tmp_path, lab.info, transport) as softphone:
        softphone.command("dial", f"sip:{lab.info.number}@sip.nexmo.com")
        softphone.wait_event("CALL_ESTABLISHED")
        wait_for(lambda: [e for e in lab.trace(kind="ncco") if e["action"] == "input"], what="the input to begin")
        softphone.command("sndcode", PIN)
        lab.wait_joined(2)
        assert [asked.fields["dtmf"]["digits"] for asked in app.asked("/input")] == [PIN]
        assert app.asked("/input")[0].fields["from"] == "12025550188"
        wait_for(lambda: ear.strength(ear.last(participant.recording(), 0.5), OWN_TONE) > -20, what="its tone")
        wait_for(lambda: ear.strength(ear.last(softphone.heard(), 0.5), OTHER_TONE) > -20, what="the other tone")
        assert ear.strength(ear.last(participant.recording(), 0.5), OTHER_TONE) < -50
        assert ear.strength(ear.last(softphone.heard(), 0.5), OWN_TONE) < -50
        legs = {each["call_id"] for each in lab.trace(kind="leg") if each.get("endpoint") == "phone"}
        used = {each["transport"] for each in lab.trace(kind="sip") if each["call_id"] in legs}
        assert used == {transport}
        softphone.command("hangup")
        lab.wait_joined(1)
    wait_for(lambda: "completed" in app.statuses(), what="the completed event")
    assert next(e for e in app.events() if e.get("status") == "completed")["disconnected_by"] == "user"


@pytest.mark.foreign_phone
def test_baresip_hears_the_platform_hang_up(lab: Lab, app: AnsweringApp, baresip: str, tmp_path: Path) -> None:
    """At the end of the call document the platform's BYE reaches baresip's Contact and closes its call."""
    app.on("/answer", [{"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 1}}])
    with Baresip(baresip, tmp_path, lab.info, "udp") as softphone:
        softphone.command("dial", f"sip:{lab.info.number}@sip.nexmo.com")
        softphone.wait_event("CALL_ESTABLISHED")
        softphone.wait_event("CALL_CLOSED")
    lab.wait_legs(0)


@pytest.mark.foreign_phone
def test_baresip_with_a_wrong_password(lab: Lab, app: AnsweringApp, baresip: str, tmp_path: Path) -> None:
    """Its call is closed with 403 and the application is not asked."""
    with Baresip(baresip, tmp_path, lab.info, "udp", password="wrong") as softphone:
        softphone.command("dial", f"sip:{lab.info.number}@sip.nexmo.com")
        assert "403" in softphone.wait_event("CALL_CLOSED")["param"]
    assert app.asked() == []
