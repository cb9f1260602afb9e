"""Named conversations: the conference a NCCO's ``conversation`` action joins.

A conversation lives while legs are in it. Its audio starts when a leg with startOnEnter comes in; when a leg with
endOnExit leaves, every other leg is hung up. Names belong to the application ("NCCO reference", conversation).
"""

import uuid
from typing import Protocol

from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.media.mixer import Mixer

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
    """One named conversation."""

    def __init__(self, name: str, mixer: Mixer) -> None:
        self.name = name
        self.uuid = f"CON-{uuid.uuid4()}"
        self.started = False
        self._conference = mixer.conference()
        self.members: dict[str, Member] = {}

    def enter(self, member: Member, *, start_on_enter: bool) -> None:
        """Let a leg in.

        Raises:
            ConversationFull: it holds its fifty legs already.
        """
        if len(self.members) >= MAX_LEGS:
            raise ConversationFull(f"the conversation holds its {MAX_LEGS} legs")
        self.members[member.uuid] = member
        self.started = self.started or start_on_enter
        if self.started:
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

    def left(self, conversation: Conversation) -> None:
        """Forget an empty conversation."""
        if not conversation.members and self._named.get(conversation.name) is conversation:
            del self._named[conversation.name]
