"""The 20 ms clock that moves all audio.

One tick: take the newest frame of every RTP leg and every source, decode all of them with one table look-up, sum each
conference once, give every member the sum minus itself (one that does not hear all the others gets a sum of its own),
add what is played to that leg alone, encode with one look-up, send. Deadlines are absolute: a late tick does
not delay the next one.
"""

import asyncio
import logging
from collections.abc import Callable

import numpy as np

from sipkit.sandbox.media.g711 import DECODE, ENCODE, FRAME, FRAME_SECONDS
from sipkit.sandbox.media.hearing import dbfs
from sipkit.sandbox.media.leg import Conference, Leg, RtpLeg

MAX_LATE = 0.2
"""Seconds the clock may lag before it gives up catching up (a suspended machine)."""
REPORT_TICKS = 50
"""Media figures are reported once a second."""

log = logging.getLogger(__name__)

Report = Callable[[Leg, dict[str, float | int]], None]


class Mixer:
    """All legs and conferences of one side of the sandbox.

    Args:
        report: called once a second per RTP leg with ``{"sent", "received", "lost", "foreign", "jitter_ms",
            "level_dbfs"}``; the level is what the peer says.
    """

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._rtp: list[RtpLeg] = []
        self._local: list[Leg] = []
        self._task: asyncio.Task[None] | None = None
        self._layout_stale = True
        self._laws = np.zeros((0, 1), dtype=np.intp)
        self._order = self._starts = self._sizes = np.zeros(0, dtype=np.intp)
        self._energy = np.zeros(0)
        self._choosy: list[tuple[int, np.ndarray]] = []
        self._ticks = 0

    def start(self) -> None:
        """Start the clock."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop the clock."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def conference(self) -> Conference:
        """Make an empty conference."""
        return Conference(self._changed)

    def add(self, leg: Leg) -> None:
        """Drive a leg from the next tick on."""
        (self._rtp if isinstance(leg, RtpLeg) else self._local).append(leg)  # type: ignore[arg-type]
        self._changed()

    def remove(self, leg: Leg) -> None:
        """Stop driving a leg."""
        legs = self._rtp if isinstance(leg, RtpLeg) else self._local
        if leg in legs:
            legs.remove(leg)  # type: ignore[arg-type]
            leg.leave()
            self._changed()

    def _changed(self) -> None:
        self._layout_stale = True

    def _lay_out(self) -> None:
        """Number the legs and note which rows belong to which conference."""
        legs: list[Leg] = [*self._rtp, *self._local]
        self._laws = np.array([leg.law for leg in self._rtp], dtype=np.intp).reshape(-1, 1)
        groups: dict[int, list[int]] = {}
        for row, leg in enumerate(legs):
            if leg.conference is not None:
                groups.setdefault(id(leg.conference), []).append(row)
        sizes = [len(rows) for rows in groups.values()]
        self._order = np.array([row for rows in groups.values() for row in rows], dtype=np.intp)
        self._starts = np.cumsum([0, *sizes[:-1]], dtype=np.intp) if sizes else np.zeros(0, dtype=np.intp)
        self._sizes = np.array(sizes, dtype=np.intp)
        self._energy = np.zeros(len(legs))
        self._choosy = [found for rows in groups.values() for found in _choosy(legs, rows)]
        self._layout_stale = False

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while True:
            deadline += FRAME_SECONDS
            delay = deadline - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            else:
                if -delay > MAX_LATE:
                    deadline = loop.time()
                await asyncio.sleep(0)
            try:
                self.tick()
            except Exception:  # whatever one leg's audio does, the clock of all the others goes on
                log.exception("a tick of the mixer failed")

    def tick(self) -> None:
        """Move one 20 ms frame through everything."""
        if self._layout_stale:
            self._lay_out()
        rtp, local = self._rtp, self._local
        count = len(rtp) + len(local)
        if count == 0:
            return
        said = np.zeros((count, FRAME), dtype=np.int32)
        if rtp:
            codes = np.frombuffer(b"".join([leg.take() for leg in rtp]), dtype=np.uint8).reshape(-1, FRAME)
            laws = self._laws if len(self._laws) == len(rtp) else np.zeros((len(rtp), 1), dtype=np.intp)
            said[: len(rtp)] = DECODE[laws, codes]
        for row, voice in enumerate(local, len(rtp)):
            frame = voice.next_frame()
            if frame is not None:
                said[row] = frame
            if voice.said is not None:
                voice.said(ENCODE[0][said[row] & 0xFFFF].tobytes())
        arrived = said[: len(rtp)].copy() if any(leg.hearing or leg.tap for leg in rtp) else said
        power = np.einsum("ij,ij->i", said, said, dtype=np.float64) / FRAME
        if len(self._energy) == count:
            self._energy += power
        everyone: list[Leg] = [*rtp, *local]
        for row, each in enumerate(everyone):
            if each.muted:
                said[row] = 0
        out = np.zeros_like(said)
        if len(self._order):
            mixed = said[self._order]
            sums = np.add.reduceat(mixed, self._starts, axis=0)
            out[self._order] = np.repeat(sums, self._sizes, axis=0) - mixed
            for row, heard in self._choosy:
                out[row] = said[heard].sum(axis=0)
        self._deliver(out, arrived, power)
        self._ticks += 1
        if self._ticks % REPORT_TICKS == 0:
            self._report_figures()

    def _deliver(self, out: np.ndarray, arrived: np.ndarray, power: np.ndarray) -> None:
        """Send the mixes, and let those who record hear."""
        rtp = self._rtp
        for row, leg in enumerate(rtp):
            frame = leg.next_frame()
            if frame is not None:
                out[row] += frame
            if leg.hearing is not None:
                leg.hearing.hear(arrived[row].astype(np.int16), float(power[row]))
        np.clip(out, -32768, 32767, out=out)
        if rtp:
            codes = ENCODE[self._laws, out[: len(rtp)] & 0xFFFF]
            for row, leg in enumerate(rtp):
                leg.send(codes[row].tobytes())
                if leg.tap is not None:
                    leg.tap(arrived[row].astype(np.int16), out[row].astype(np.int16))
        for row, ear in enumerate(self._local, len(rtp)):
            if ear.hearing is not None:
                heard = out[row].astype(np.int16)
                ear.hearing.hear(heard, float(np.mean(out[row].astype(np.float64) ** 2)))

    def _report_figures(self) -> None:
        for leg, energy in zip(self._rtp, self._energy, strict=False):
            leg.level = round(dbfs(float(energy) / REPORT_TICKS), 1)
            if self._report is not None:
                self._report(
                    leg,
                    {
                        "sent": leg.sent,
                        "received": leg.received,
                        "lost": leg.lost,
                        "foreign": leg.foreign,
                        "jitter_ms": round(leg.jitter * 1000, 2),
                        "level_dbfs": leg.level,
                    },
                )
        self._energy[:] = 0


def _choosy(legs: list[Leg], rows: list[int]) -> list[tuple[int, np.ndarray]]:
    """Return the rows of a conference that do not hear all others, each with the rows it hears."""
    if not any(legs[row].choosy for row in rows):
        return []  # the common case costs nothing
    found: list[tuple[int, np.ndarray]] = []
    for row in rows:
        heard = [other for other in rows if other != row and legs[row].hears(legs[other])]
        if len(heard) < len(rows) - 1:
            found.append((row, np.array(heard, dtype=np.intp)))
    return found
