"""MP3 and Ogg: recordings are written in the documented formats, and MP3 files are played."""

import asyncio
import io
from typing import Any

import numpy as np
import pytest
import soundfile

from sipkit.sandbox.media.sound_files import CONTENT_TYPES, FileFormat, encode, from_mp3, is_mp3
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.recording import Recorder
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for

JOIN = {"action": "conversation", "name": "room"}


def _tracks(*hz: float, seconds: float = 2.0) -> np.ndarray:
    return np.stack([(ear.tone(each, seconds) * 32767).astype(np.int16) for each in hz], axis=1)


@pytest.mark.parametrize("form", ["mp3", "wav", "ogg"])
def test_file_keeps_its_channels_at_16_khz(form: FileFormat) -> None:
    """Each format holds both channels, apart, in tune and as loud as they were, and nothing above 4 kHz."""
    data = encode(_tracks(700, 1900), form)
    samples, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    assert (rate, samples.shape[1]) == (16000, 2)
    for channel, own, other in ((0, 700, 1900), (1, 1900, 700)):
        heard = samples[::2, channel]
        assert abs(ear.strength(heard, own) - ear.strength(ear.tone(own, 2.0), own)) < 1
        assert ear.strength(heard, other) < -60
        spectrum = np.abs(np.fft.rfft(samples[4000:28000, channel] * np.hanning(24000))) ** 2
        assert spectrum[6600:].sum() < 1e-4 * spectrum.sum()


def test_mp3_has_the_documented_bit_rate() -> None:
    """An MP3 recording has a constant 32 kbit/s, mono and stereo alike."""
    for hz in ((700,), (700, 900)):
        assert len(encode(_tracks(*hz, seconds=20), "mp3")) * 8 / 20 == pytest.approx(32000, rel=0.02)


def test_recording_of_nothing_is_a_file_all_the_same() -> None:
    """A call that ended before its first frame leaves a file every player opens."""
    for form in CONTENT_TYPES:
        assert soundfile.info(io.BytesIO(encode(np.zeros((0, 1), dtype=np.int16), form))).channels == 1


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_mp3_of_any_rate_is_read(rate: int) -> None:
    """A stereo MP3 of any rate becomes 8 kHz mono, in tune."""
    at = np.arange(2 * rate) / rate
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([0.25 * np.sin(2 * np.pi * 700 * at)] * 2, axis=1), rate, format="MP3")
    assert is_mp3(buffer.getvalue())
    heard = from_mp3(buffer.getvalue()) / 32768
    assert abs(len(heard) / 8000 - 2) < 0.2
    assert ear.strength(heard, 700) > -18


def test_no_mp3_is_refused() -> None:
    """Noise, a bare tag and a WAV file are no MP3; nor does a WAV look like one."""
    wav = encode(_tracks(700), "wav")
    assert not is_mp3(wav)
    for data in (b"", b"noise", b"ID3\x03", wav):
        with pytest.raises(ValueError, match="not an MP3 file"):
            from_mp3(data)


@pytest.mark.parametrize(
    ("options", "form"),
    [
        pytest.param({}, "mp3", id="default"),
        pytest.param({"split": "conversation"}, "mp3", id="two channels"),
        pytest.param({"split": "conversation", "channels": 3}, "wav", id="more channels"),
        pytest.param({"format": "ogg"}, "ogg", id="ogg"),
    ],
)
def test_format_of_a_recording(options: dict[str, Any], form: str) -> None:
    """MP3 is the default, WAV for more than two channels, as documented."""
    [wanted] = ncco.parse([{"action": "record", **options}])
    assert isinstance(wanted, ncco.Record)
    assert wanted.form == form


def test_finished_recording_takes_no_more() -> None:
    """What comes after the finish is not in the file, even when that is written later."""

    async def record() -> Recorder:
        [wanted] = ncco.parse([{"action": "record", "format": "wav"}])
        assert isinstance(wanted, ncco.Record)
        return Recorder(wanted)

    recorder, frame = asyncio.run(record()), np.zeros(160, dtype=np.int16)
    recorder.take(frame, frame)
    end = recorder.finish()
    recorder.take(frame, frame)
    assert soundfile.info(io.BytesIO(end.file())).frames == 2 * 160


def test_mp3_file_is_played(lab: Lab, app: AnsweringApp) -> None:
    """A stream of an MP3 file, served without a type that says so, is heard by the phone."""
    app.on("/sound", Reply(body=encode(_tracks(700), "mp3"), content_type="application/octet-stream"))
    app.on("/answer", [{"action": "stream", "streamUrl": [f"{app.url}/sound"], "loop": 0}])
    phone = lab.dial()
    wait_for(lambda: ear.strength(ear.last(phone.recording(), 0.3), 700) > -25, what="the tone of the MP3 file")


def test_recording_is_told_of_before_the_next_action(lab: Lab, app: AnsweringApp) -> None:
    """With an end condition the MP3 is written and told of, then the next action is executed, as documented."""
    record = {"action": "record", "endOnKey": "#", "eventUrl": [f"{app.url}/recorded"]}
    app.on("/recorded", Reply())
    app.on("/notify", [JOIN])
    app.on("/answer", [record, {"action": "notify", "payload": {}, "eventUrl": [f"{app.url}/notify"]}])
    phone = lab.dial()
    phone.wait("answered")
    phone.keys("#")
    wait_for(lambda: app.asked("/recorded") and app.asked("/notify"), what="both callbacks")
    # By their own times: two requests at once may arrive in any order.
    assert app.asked("/recorded")[0].fields["timestamp"] <= app.asked("/notify")[0].fields["timestamp"]
