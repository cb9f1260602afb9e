"""Vonage's own SDK is the judge: every method of `vonage_voice.Voice` 1.5 against the sandbox, over https."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from vonage_http_client.auth import Auth
from vonage_http_client.errors import AuthenticationError, HttpRequestError, NotFoundError, RateLimitedError
from vonage_http_client.http_client import HttpClient, HttpClientOptions
from vonage_jwt import VonageVerifyJwtError
from vonage_voice import Voice
from vonage_voice.errors import VoiceError
from vonage_voice.models import AudioStreamOptions, CreateCallRequest, ListCallsFilter, TtsStreamOptions
from vonage_voice.models.ncco import Conversation, Talk

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for

PHONE = "12025550188"
NOBODY = "0" * 32


def sdk(info: SandboxInfo, key: str | None = None) -> Voice:
    """Return the SDK's voice client for the sandbox's https port, which its own authority certifies."""
    auth = Auth(application_id=info.application_id, private_key=key or info.private_key_file)
    http = HttpClient(auth, HttpClientOptions(api_host=info.https_url.removeprefix("https://"), pool_maxsize=1))
    http._session.verify = info.ca_file
    http._session.trust_env = False
    return Voice(http)


@pytest.fixture
def voice(lab: Lab) -> Iterator[Voice]:
    """The SDK's voice client; the sandbox's rate limits are off."""
    lab.ask("PUT", "/limits", json={"enforce": False})
    yield sdk(lab.info)
    lab.ask("DELETE", "/limits")


def wish(lab: Lab, **more: Any) -> CreateCallRequest:
    """Return the SDK's request for a call to the phone."""
    document = {} if "answer_url" in more else {"ncco": [Conversation(name="judge")]}
    to = [{"type": "phone", "number": PHONE}]
    return CreateCallRequest(to=to, from_={"type": "phone", "number": lab.info.number}, **document, **more)


class Rung:
    """A call the SDK made, and the phone that answered it."""

    def __init__(self, lab: Lab, voice: Voice, **more: Any) -> None:
        self.phone = lab.expect(PHONE)
        made = voice.create_call(wish(lab, **more))
        assert (made.status, made.direction) == ("started", "outbound")
        self.uuid = made.uuid
        self.conversation_uuid = made.conversation_uuid
        self.phone.wait("answered")
        wait_for(lambda: voice.get_call(self.uuid).status == "answered", what="the answer")

    def hears(self, hz: int) -> bool:
        """Does the phone hear a tone?"""
        return ear.strength(ear.last(self.phone.recording(), 0.3), hz) > -30


@pytest.fixture
def rung(lab: Lab, voice: Voice) -> Rung:
    """An answered call that sits in a conversation."""
    call = Rung(lab, voice)
    lab.wait_joined(1, name="judge")
    return call


def test_create_get_hang_up(lab: Lab, app: AnsweringApp, voice: Voice) -> None:
    """A call is created with an answer URL, shown, hung up, and shown with its price."""
    app.on("/document", [{"action": "conversation", "name": "judge"}])
    call = Rung(lab, voice, answer_url=[f"{app.url}/document"], event_url=[f"{app.url}/event/own"])
    assert app.asked("/document")[0].method == "GET"
    shown = voice.get_call(call.uuid)
    assert (shown.uuid, shown.to.number, shown.from_.number) == (call.uuid, PHONE, lab.info.number)
    assert (shown.link, shown.price) == (f"/v1/calls/{call.uuid}", None)
    voice.hangup(call.uuid)
    call.phone.wait("ended")
    done = wait_for(lambda: (found := voice.get_call(call.uuid)).status == "completed" and found, what="completed")
    assert float(done.price) > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", done.start_time)
    assert [each.fields.get("status") for each in app.asked("/event/own")][:3] == ["started", "ringing", "answered"]


def test_list_pages_and_filters(lab: Lab, voice: Voice, rung: Rung) -> None:
    """A page holds what its filter says and names the next one; page by page every call is listed once."""
    mine = ListCallsFilter(conversation_uuid=rung.conversation_uuid)
    calls, following = voice.list_calls(mine)
    assert ([each.uuid for each in calls], following) == ([rung.uuid], None)
    other = Rung(lab, voice)
    newest = ListCallsFilter(page_size=1, order="desc")
    calls, following = voice.list_calls(newest)
    assert ([each.uuid for each in calls], following) == ([other.uuid], 1)
    third = Rung(lab, voice)
    seen: list[str] = []
    index: int | None = 0
    while index is not None:
        calls, index = voice.list_calls(ListCallsFilter(page_size=2, record_index=index))
        seen += [each.uuid for each in calls]
    assert len(seen) == len(set(seen)) > 2
    assert seen.index(rung.uuid) < seen.index(other.uuid)
    answered = voice.list_calls(ListCallsFilter(status="answered"))[0]
    assert {each.uuid for each in answered} == {rung.uuid, other.uuid, third.uuid}
    assert voice.list_calls(ListCallsFilter(date_start="2999-01-01T00:00:00Z")) == ([], None)
    with pytest.raises(HttpRequestError, match="400"):
        voice.list_calls(ListCallsFilter(date_end="yesterday"))


def test_transfer_by_document_and_by_url(lab: Lab, app: AnsweringApp, voice: Voice, rung: Rung) -> None:
    """A call leaves its conversation for what the new document says, inline or fetched."""
    voice.transfer_call_ncco(rung.uuid, [Conversation(name="second")])
    lab.wait_joined(1, name="second")
    app.on("/next", [{"action": "conversation", "name": "third"}])
    voice.transfer_call_answer_url(rung.uuid, f"{app.url}/next")
    lab.wait_joined(1, name="third")
    with pytest.raises(HttpRequestError, match="400"):
        voice.transfer_call_answer_url(rung.uuid, f"{app.url}/nothing")
    with pytest.raises(HttpRequestError, match="bargeIn"):
        voice.transfer_call_ncco(rung.uuid, [Talk(text="hello", bargeIn=True)])


def test_mute_and_earmuff(lab: Lab, voice: Voice, rung: Rung) -> None:
    """A muted leg is heard by nobody, an earmuffed one hears nobody, and both can be undone."""
    other = Rung(lab, voice)
    rung.phone.post("tone", json={"hz": 700})
    wait_for(lambda: other.hears(700), what="the tone")
    voice.mute(rung.uuid)
    wait_for(lambda: not other.hears(700), what="silence when muted")
    voice.unmute(rung.uuid)
    wait_for(lambda: other.hears(700), what="the tone again")
    voice.earmuff(other.uuid)
    wait_for(lambda: not other.hears(700), what="silence with earmuffs")
    voice.unearmuff(other.uuid)
    wait_for(lambda: other.hears(700), what="the tone without earmuffs")


def test_talk_stream_and_dtmf_into_a_call(lab: Lab, app: AnsweringApp, voice: Voice, rung: Rung) -> None:
    """Speech, a sound file and digits reach the phone; what goes on for ever can be stopped."""
    app.on("/tone.wav", Reply(body=ear.make_wav(ear.tone(900, 1, 0.2)), content_type="audio/wav"))
    told = voice.play_audio_into_call(rung.uuid, AudioStreamOptions(stream_url=[f"{app.url}/tone.wav"], loop=0))
    assert (told.message, told.uuid) == ("Stream started", rung.uuid)
    wait_for(lambda: rung.hears(900), what="the file")
    assert voice.stop_audio_stream(rung.uuid).message == "Stream stopped"
    wait_for(lambda: not rung.hears(900), what="the file's end")
    assert voice.play_tts_into_call(rung.uuid, TtsStreamOptions(text="Hello.", loop=0)).message == "Talk started"
    assert voice.stop_tts(rung.uuid).message == "Talk stopped"
    assert voice.play_dtmf_into_call(rung.uuid, "1p#").message == "DTMF sent"
    with pytest.raises(HttpRequestError, match="stream_url"):
        voice.play_audio_into_call(rung.uuid, AudioStreamOptions(stream_url=["http://192.0.2.1/a.wav"]))
    with pytest.raises(HttpRequestError, match="text"):
        voice.play_tts_into_call(rung.uuid, TtsStreamOptions(text=""))


def test_download_recording(lab: Lab, app: AnsweringApp, voice: Voice, tmp_path: Path) -> None:
    """A recording's URL gives the WAV to the SDK, which takes Vonage's host names only (or one in the query)."""
    document = [{"action": "record", "format": "wav"}, {"action": "talk", "text": "Hello."}]
    lab.expect(PHONE)
    app.on("/document", document)
    voice.create_call(wish(lab, answer_url=[f"{app.url}/document"]))
    url = wait_for(lambda: next((e["recording_url"] for e in app.events() if "recording_url" in e), None))
    with pytest.raises(VoiceError, match="hostname"):
        voice.download_recording(url, str(tmp_path / "no.wav"))
    voice.download_recording(f"{url}?as=api.nexmo.com", str(tmp_path / "call.wav"))
    assert (tmp_path / "call.wav").read_bytes()[:4] == b"RIFF"


def test_verify_signature(lab: Lab, app: AnsweringApp, voice: Voice, rung: Rung) -> None:
    """The SDK accepts the token of an event, with the signature secret only."""
    token = app.asked("/event")[0].headers["authorization"].removeprefix("Bearer ")
    assert voice.verify_signature(token, lab.info.signature_secret)
    assert not voice.verify_signature(token, "x" * 32)
    with pytest.raises(VonageVerifyJwtError):
        voice.verify_signature("no token", lab.info.signature_secret)


@pytest.mark.parametrize(
    "method",
    [
        *("get_call", "hangup", "mute", "unmute", "earmuff", "unearmuff", "stop_audio_stream", "stop_tts"),
        *("transfer_call_ncco", "transfer_call_answer_url", "play_audio_into_call", "play_tts_into_call"),
        "play_dtmf_into_call",
    ],
)
def test_a_call_that_is_not_there_is_not_found(lab: Lab, voice: Voice, method: str) -> None:
    """Every method that names an unknown call raises NotFoundError."""
    more: dict[str, Any] = {
        "transfer_call_ncco": [Conversation(name="x")],
        "transfer_call_answer_url": "http://127.0.0.1:1/",
        "play_audio_into_call": AudioStreamOptions(stream_url=["http://127.0.0.1:1/"]),
        "play_tts_into_call": TtsStreamOptions(text="hello"),
        "play_dtmf_into_call": "1",
    }
    with pytest.raises(NotFoundError):
        getattr(voice, method)(NOBODY, *([more[method]] if method in more else []))


def test_a_stranger_is_not_let_in(lab: Lab) -> None:
    """A JWT signed with another key is AuthenticationError."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with pytest.raises(AuthenticationError):
        sdk(lab.info, stranger.private_bytes(*form).decode()).list_calls()


def test_what_is_wrong_with_a_call_is_told(lab: Lab, voice: Voice) -> None:
    """What the SDK lets through and the platform does not is HttpRequestError with the parameter's name."""
    for wrong, named in (
        ({"to": [{"type": "phone", "number": "12"}]}, "to"),
        ({"to": [{"type": "vbc", "extension": "1"}]}, "to"),
        ({"to": []}, "to"),
        ({"machine_detection": "continue"}, "machine_detection"),
        ({"answer_url": ["nowhere"], "ncco": None}, "answer_url"),
        ({"random_from_number": True, "from_": None}, None),
    ):
        every = {**wish(lab).model_dump(exclude_none=True), **wrong}
        fields = {name: value for name, value in every.items() if value is not None}
        if named is None:
            assert voice.create_call(CreateCallRequest(**fields)).status == "started"
            continue
        with pytest.raises(HttpRequestError, match=f'"{named}"'):
            voice.create_call(CreateCallRequest(**fields))


def test_the_fourth_call_of_a_second_is_rate_limited(lab: Lab, voice: Voice) -> None:
    """The limit of calls raises RateLimitedError."""
    lab.ask("PUT", "/limits", json={"enforce": True, "calls": 0})
    with pytest.raises(RateLimitedError):
        voice.create_call(wish(lab))
