"""What the record action keeps: the sound of one leg, both ways, and where it can be had afterwards.

Source: "NCCO reference", record; "Recording" guide; the callback as recorded. Recordings live in memory, the newest
fifty or 256 MB, up to ten minutes each.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import numpy as np
from aiohttp import web

from sipkit.sandbox.media.g711 import FRAME_SECONDS, Samples
from sipkit.sandbox.media.hearing import LOUD, MAX_SECONDS
from sipkit.sandbox.media.sound_files import CONTENT_TYPES, FileFormat, encode
from sipkit.sandbox.rest import Refusal, vendor_api
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.calls_auth import application_of

KEPT = 50
KEPT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class RecordingEnd:
    """A finished recording and where to tell of it (the application's event URL when None).

    Attributes:
        tracks: gives the samples, 8 kHz, a column per channel.
    """

    tracks: Callable[[], np.ndarray]
    form: FileFormat
    start: datetime
    end: datetime
    event_url: str | None
    event_method: str

    def file(self) -> bytes:
        """Assemble and encode: seconds of work for a long recording, so on a worker thread.

        Raises:
            RuntimeError: it cannot be written.
        """
        return encode(self.tracks(), self.form)


class Recorder:
    """Takes a leg's sound until an end condition is met, or somebody finishes it.

    Attributes:
        done: set when an end condition was met.
    """

    def __init__(self, wanted: ncco.Record) -> None:
        self._wanted = wanted
        self._spoken: list[Samples] = []
        self._heard: list[Samples] = []
        self._silent = 0
        self._start = datetime.now(UTC)
        self.done = asyncio.Event()

    def take(self, spoken: Samples, heard: Samples) -> None:
        """Take 20 ms of what the leg says and of what it is told."""
        if self.done.is_set() or len(self._spoken) * FRAME_SECONDS >= MAX_SECONDS:
            return
        self._spoken.append(spoken)
        self._heard.append(heard)
        loud = float(np.mean(spoken.astype(np.float64) ** 2)) > LOUD**2
        self._silent = 0 if loud else self._silent + 1
        silence, time_out = self._wanted.end_on_silence, self._wanted.time_out
        if silence is not None and self._silent * FRAME_SECONDS >= silence:
            self.done.set()
        if time_out is not None and len(self._spoken) * FRAME_SECONDS >= time_out:
            self.done.set()

    def key(self, digit: str) -> None:
        """Take a digit: it may be the one that ends the recording."""
        if digit == self._wanted.end_on_key:
            self.done.set()

    def finish(self) -> RecordingEnd:
        """Take no more, and return what was recorded."""
        self.done.set()
        wanted = self._wanted
        return RecordingEnd(
            self._tracks, wanted.form, self._start, datetime.now(UTC), wanted.event_url, wanted.event_method
        )

    def _tracks(self) -> np.ndarray:
        """One track, or the leg's voice in the first channel and all others in the next."""
        silence = np.zeros(0, dtype=np.int16)
        spoken = np.concatenate(self._spoken) if self._spoken else silence
        heard = np.concatenate(self._heard) if self._heard else silence
        if self._wanted.channels == 1:
            both: Samples = np.clip(spoken.astype(np.int32) + heard, -32768, 32767).astype(np.int16)
            return np.reshape(both, (-1, 1))
        tracks = np.zeros((len(spoken), self._wanted.channels), dtype=np.int16)
        tracks[:, 0], tracks[:, 1] = spoken, heard
        return tracks


class Recordings:
    """Finished recordings, and the endpoint they are downloaded from.

    Attributes:
        base: the URL of the REST API, without a path; the sandbox tells it once it listens.
    """

    def __init__(self, applications: Applications, trace: Trace) -> None:
        self.base = ""
        self._applications = applications
        self._trace = trace
        self._kept: OrderedDict[str, tuple[bytes, FileFormat]] = OrderedDict()

    def keep(self, file: bytes, form: FileFormat) -> str:
        """Keep a recording, whatever its size, and forget the oldest that are too much; returns its id."""
        recording_id = str(uuid.uuid4())
        self._kept[recording_id] = file, form
        while len(self._kept) > 1 and (len(self._kept) > KEPT or self._size() > KEPT_BYTES):
            self._kept.popitem(last=False)
        return recording_id

    def _size(self) -> int:
        return sum(len(file) for file, _ in self._kept.values())

    def url(self, recording_id: str) -> str:
        """Return where a recording can be had: ``/v1/files/{id}``, as at api.nexmo.com."""
        return f"{self.base}/v1/files/{recording_id}"

    def routes(self) -> list[web.RouteDef]:
        """GET of a recording, with a JWT of an application of the account, as documented."""

        async def get(request: web.Request, _: bytes) -> web.Response:
            application_of(request, self._applications)
            kept = self._kept.get(request.match_info["id"])
            if kept is None:
                raise Refusal(HTTPStatus.NOT_FOUND, "The recording is not there.")
            return web.Response(body=kept[0], content_type=CONTENT_TYPES[kept[1]])

        return [web.get("/v1/files/{id}", vendor_api(self._trace, _problem)(get))]


def _problem(refusal: Refusal) -> dict[str, Any]:
    """The Voice API's error JSON."""
    kind = {HTTPStatus.UNAUTHORIZED: "UNAUTHORIZED", HTTPStatus.NOT_FOUND: "NOT_FOUND"}
    return {"type": kind.get(HTTPStatus(refusal.status), "BAD_REQUEST"), "error_title": refusal.text}
