"""SIPp, a load generator that shares no code with the kit, calls the number by the dozen."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.interop import keypad_pcap
from tests.standins.answering_app import AnsweringApp, Asked
from tests.standins.lab import Lab, wait_for

PIN = "4711"
RATE = 10
STAY_SECONDS = 2.5
"""How long a call stays in the room after the last one has been placed."""

SCENARIO = """<?xml version="1.0" encoding="us-ascii"?>
<scenario name="join by PIN">
  <send retrans="500"><![CDATA[{first}]]></send>
  <recv response="100" optional="true"/>
  <recv response="401" auth="true"/>
  <send><![CDATA[{ack_failure}]]></send>
  <send retrans="500"><![CDATA[{second}]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200"/>
  <send><![CDATA[{ack}]]></send>
  <nop><action><exec play_pcap_audio="{pcap}"/></action></nop>
  <pause milliseconds="{stay}"/>
  <send retrans="500"><![CDATA[{bye}]]></send>
  <recv response="200" crlf="true"/>
</scenario>
"""
HEADERS = """
      {method} sip:[service]@sip.nexmo.com SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
      From: "SIPp" <sip:1202555[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      {to}
      Call-ID: [call_id]
      CSeq: {sequence} {method}
      Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
      Max-Forwards: 70
"""
OFFER = """      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=sipp 1 1 IN IP4 [local_ip]
      s=-
      c=IN IP4 [media_ip]
      t=0 0
      m=audio [auto_media_port] RTP/AVP 8 101
      a=rtpmap:8 PCMA/8000
      a=rtpmap:101 telephone-event/8000
      a=fmtp:101 0-11
"""
NOTHING = """      Content-Length: 0

"""


def _message(method: str, sequence: int, *, dialog: bool = False, extra: str = "", body: str = NOTHING) -> str:
    branch = "[branch]" if method != "ACK" or dialog else "[branch-2]"
    to = "[last_To:]" if dialog or method == "ACK" else "To: <sip:[service]@sip.nexmo.com>"
    head = HEADERS.format(method=method, branch=branch, to=to, sequence=sequence)
    if dialog:
        head = head.replace("sip:[service]@sip.nexmo.com SIP", "[next_url] SIP")
    return head + extra + body


def _scenario(folder: Path, user: str, password: str, stay: float) -> Path:
    """Write the scenario and its capture of keys."""
    pcap = folder / "keys.pcap"
    keypad_pcap.write(pcap, PIN)
    login = f"      [authentication username={user} password={password}]\n"
    path = folder / "join.xml"
    path.write_text(
        SCENARIO.format(
            first=_message("INVITE", 1, body=OFFER),
            ack_failure=_message("ACK", 1),
            second=_message("INVITE", 2, extra=login, body=OFFER),
            ack=_message("ACK", 2, dialog=True),
            bye=_message("BYE", 3, dialog=True),
            pcap=pcap,
            stay=round(stay * 1000),
        ).replace('<recv response="200"/>', '<recv response="200" rrs="true"/>')
    )
    return path


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _may_send_raw() -> bool:
    """SIPp plays captures through a raw socket."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return False
    return True


def _by_pin(app: AnsweringApp, room: str) -> None:
    """Let the application ask for the PIN, and put who knows it into the room."""

    def check(asked: Asked) -> list[dict[str, object]]:
        if asked.fields["dtmf"]["digits"] == PIN:
            return [{"action": "conversation", "name": room}]
        return [{"action": "talk", "text": "Wrong."}]

    app.on(
        "/answer",
        [
            {"action": "talk", "text": "Please enter your PIN.", "bargeIn": True},
            {
                "action": "input",
                "type": ["dtmf"],
                "dtmf": {"maxDigits": len(PIN), "timeOut": 5},
                "eventUrl": [f"{app.url}/input"],
            },
        ],
    )
    app.on("/input", check)


@pytest.mark.foreign_phone
@pytest.mark.slow
@pytest.mark.parametrize(("transport", "calls"), [("udp", 50), ("tcp", 10)])
def test_sipp_calls_join_by_pin(
    lab: Lab, app: AnsweringApp, sipp: str, tmp_path: Path, transport: str, calls: int
) -> None:
    """All calls authenticate, key their PIN, are in one conversation at once, and leave nothing behind.

    Fifty is the most a conversation takes.
    """
    if not _may_send_raw():
        pytest.skip("SIPp's play_pcap_audio needs root or CAP_NET_RAW")
    _by_pin(app, "sipp")
    stay = calls / RATE + STAY_SECONDS
    scenario = _scenario(tmp_path, lab.info.carrier_user, lab.info.carrier_password, stay)
    peer = getattr(lab.info, f"sip_{transport}")
    command = [
        sipp, peer, "-sf", str(scenario),
        "-s", lab.info.number, "-t", "u1" if transport == "udp" else "t1",
        "-i", "127.0.0.1", "-p", str(_free_port()), "-mi", "127.0.0.1", "-mp", str(_free_port()),
        "-m", str(calls), "-r", str(RATE), "-l", str(calls),
        "-nostdin", "-timeout", "60", "-trace_err", "-error_file", str(tmp_path / "errors.log"),
    ]  # fmt: skip
    with (tmp_path / "screen.log").open("wb") as screen:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=screen, stderr=screen)
        try:
            lab.wait_joined(calls, timeout=calls / RATE + stay + 5, name="sipp")
            assert process.wait(40) == 0, _complaint(tmp_path)
        finally:
            process.kill()
            process.wait()
    lab.wait_legs(0)
    wait_for(lambda: app.statuses().count("completed") == calls, what="every call to complete")
    keyed = [asked.fields["dtmf"] for asked in app.asked("/input")]
    assert keyed == [{"digits": PIN, "timed_out": False}] * calls


def _complaint(folder: Path) -> str:
    errors = folder / "errors.log"
    return errors.read_text()[-3000:] if errors.exists() else (folder / "screen.log").read_text()[-3000:]
