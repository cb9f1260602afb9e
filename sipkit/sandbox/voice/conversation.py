"""Named conversations: the conference a NCCO's ``conversation`` action joins.

A conversation lives while legs are in it. Its audio starts when a leg with startOnEnter comes in; when a leg with
endOnExit leaves, every other leg is hung up. Names belong to the application ("NCCO reference", conversation).
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Protocol

from sipkit.sandbox.media.leg import Leg, RtpLeg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.voice.recording import RecordingEnd

MAX_LEGS = 50
"""Legs one conversation takes, by the NCCO reference."""


class ConversationFull(Exception):
    """A 51st leg wanted in."""


class Member(Protocol):
    """What a conversation needs of a leg."""

    uuid: str
    audio: RtpLeg

    def end(self, reason: str) -> None:
        """Hang the leg up."""


class Conversation:
    """One named conversation.

    Attributes:
        started: set when its audio runs.
    """

    def __init__(self, name: str, mixer: Mixer) -> None:
        self.name = name
        self.uuid = f"CON-{uuid.uuid4()}"
        self.started = asyncio.Event()
        self._mixer = mixer
        self._conference = mixer.conference()
        self._ear: Leg | None = None
        self._recorded: tuple[datetime, str | None, str] | None = None
        self.members: dict[str, Member] = {}

    def enter(self, member: Member, *, start_on_enter: bool) -> None:
        """Let a leg in.

        Raises:
            ConversationFull: it holds its fifty legs already.
        """
        if len(self.members) >= MAX_LEGS:
            raise ConversationFull(f"the conversation holds its {MAX_LEGS} legs")
        self.members[member.uuid] = member
        if start_on_enter:
            self.started.set()
        if self.started.is_set():
            for each in self.members.values():
                if each.audio.conference is None:
                    each.audio.join(self._conference)

    def leave(self, member: Member, *, end_on_exit: bool) -> None:
        """Take a leg out; with ``end_on_exit`` the conversation is over for all."""
        if self.members.pop(member.uuid, None) is None:
            return
        member.audio.leave()
        if end_on_exit:
            for other in list(self.members.values()):
                other.end("the conversation ended")

    def record(self, event_url: str | None, event_method: str) -> None:
        """Begin to record what all members say, if that is not done already (assumed: the first who asks is told)."""
        if self._ear is None:
            self._ear = Leg(f"recording:{self.uuid}", record=True)
            self._ear.overhears = True
            self._ear.join(self._conference)
            self._mixer.add(self._ear)
            self._recorded = (datetime.now(UTC), event_url, event_method)

    def stop_recording(self) -> RecordingEnd | None:
        """Finish the recording; None when there is none."""
        ear, recorded = self._ear, self._recorded
        self._ear = self._recorded = None
        if ear is None or recorded is None:
            return None
        self._mixer.remove(ear)
        assert ear.hearing is not None
        start, event_url, event_method = recorded
        hearing = ear.hearing
        # MP3 is the default of recordings ("Recording" guide); the action has no option for another format.
        return RecordingEnd(
            lambda: hearing.samples().reshape(-1, 1), "mp3", start, datetime.now(UTC), event_url, event_method
        )


class Conversations:
    """The application's conversations by name."""

    def __init__(self, mixer: Mixer) -> None:
        self._mixer = mixer
        self._named: dict[str, Conversation] = {}

    def named(self, name: str) -> Conversation:
        """Return the conversation of this name, a new one when nobody is in it."""
        conversation = self._named.get(name)
        if conversation is None:
            conversation = self._named[name] = Conversation(name, self._mixer)
        return conversation

    def by_uuid(self, conversation_uuid: str) -> Conversation | None:
        """Return the living conversation with this id."""
        return next((each for each in self._named.values() if each.uuid == conversation_uuid), None)

    def left(self, conversation: Conversation) -> None:
        """Forget an empty conversation."""
        if not conversation.members and self._named.get(conversation.name) is conversation:
            del self._named[conversation.name]
