"""The phone desk: what to do with a leg that calls, types or leaves. No HTTP in here.

a leg with a session id in its SIP headers   is a bridge      -> join its session's conversation
    of a dial of ours (its nonce says so) that was hung up, or has its leg already, or of a dial that nobody
    knows, or of somebody else while our bridge is there      -> hang up
    of a direct call of ours                                  -> connect to the phone it is for
any other leg                                is a phone       -> ask for a PIN
    of a caller that typed too many wrong PINs lately         -> goodbye
keys that are a PIN of a room                                 -> join that room's conversation
    if it has a lobby, or somebody guesses PINs               -> wait until a host admits it
    if it is locked, or full                                  -> goodbye
wrong keys, the first and the second time                     -> ask again
wrong keys, the third time                                    -> goodbye
no keys, once                                                 -> ask again
no keys, twice                                                -> goodbye
"""

import logging
import os
from typing import Final

from sipkit import meter, ncco
from sipkit.ncco import Ncco
from sipkit.pin_desk import Admitted, PinDesk, Refused
from sipkit.pins import MAX_SILENT_TRIES, typed_pin
from sipkit.prices import Kind
from sipkit.refusals import on_this_machine
from sipkit.rooms import Bridge, Caller, Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.timeline import mask_digits, mask_number
from sipkit.webhooks.callbacks import Callback, Event

log = logging.getLogger("sipkit.webhooks")

GONE: Final = frozenset(
    {"busy", "cancelled", "completed", "disconnected", "failed", "rejected", "timeout", "unanswered"}
)
"""Statuses after which a leg is no more."""

COMING: Final = frozenset({"started", "ringing", "answered"})

_FIX_IN_SANDBOX: Final = (
    "Set SERVER_URL to the address this server listens on, such as http://127.0.0.1:5000, and start it again; "
    "or start it by `python webhook_server.py`, which needs no SERVER_URL in the sandbox."
)
_FIX_LIVE: Final = (
    "Set SERVER_URL to the public address that leads to this server and start it again; "
    "or run board.start_webhook_server(), which opens a tunnel."
)


class Desk:
    """Decides what each leg shall do next, and keeps what happened.

    Args:
        settings: PIN length, and the address of a server started by hand.
        store: Rooms, bridges, callers and the timeline.
        number: The conference number, which a phone shows that is called directly.
    """

    def __init__(self, settings: Settings, store: Store, number: str) -> None:
        self.store = store
        self._number = number
        self._settings = settings
        self._pins = PinDesk(store)
        self._started_at = store.time()

    def public_url(self) -> str | None:
        """Return the address the platform reaches this server by, or None if nobody told.

        Whoever opened the tunnel told the store after this server had started; what was told
        earlier spoke of another server. Never taken from a request's Host, which a stranger chooses.
        """
        told = self.store.fact("public_url", since=self._started_at)
        return told or self._local_url() or self._server_url()

    def answer(self, call: Callback) -> Ncco:
        """Answer a leg that has just called."""
        if call.session_id is not None:
            return self._answer_sip_leg(call, call.session_id)
        caller = self.store.caller_seen(call.leg_uuid, call.number, "asked")
        if self._pins.must_pause(call.number):
            text = f"{_phone(caller)} called, which typed too many wrong PINs; it is told to call later."
            self._record("voice-answer", text, call)
            return ncco.goodbye(ncco.GOODBYE_PAUSE)
        event_url = self._url("voice-dtmf")
        if event_url is None:
            return self._no_public_url()
        self._record("voice-answer", f"{_phone(caller)} called; it is asked for a PIN.", call)
        return ncco.ask_pin(event_url, self._prompt_length())

    def keys(self, call: Callback, keys: str) -> Ncco:
        """Answer the keys that a leg pressed, or their absence."""
        event_url, music_url = self._url("voice-dtmf"), self._url("hold-music")
        if event_url is None or music_url is None:
            return self._no_public_url()
        caller = self.store.caller_seen(call.leg_uuid, call.number, "asked")
        pin = typed_pin(keys)
        if not pin:
            return self._silent(call, caller, event_url)
        verdict = self._pins.judge(call.leg_uuid, caller.number, pin)
        if isinstance(verdict, Refused):
            return self._wrong(call, caller, event_url, mask_digits(pin), verdict)
        return self._right(call, caller, verdict, music_url)

    def note(self, event: Event) -> None:
        """Keep a piece of news: who is there, who left."""
        call = event.about
        bridge = self.store.bridge_of_leg(call.leg_uuid) if call.leg_uuid else None
        if bridge is not None:
            self._note_bridge(bridge, event)
        elif call.leg_uuid and event.outbound:
            self._note_called(event)
        elif call.leg_uuid and event.status in GONE:
            # Of a bridge whose answer webhook is still on its way, too: the store will remember.
            caller = self.store.caller_left(call.leg_uuid)
            self._record_event(event, _phone(caller), caller.room_id)
        elif call.leg_uuid and event.status in COMING and call.session_id is None:
            caller = self.store.caller_seen(call.leg_uuid, call.number, "calling")
            self._record_event(event, _phone(caller), caller.room_id)
        elif call.session_id is not None:
            room = self.store.room_by_session(call.session_id)
            self._record_event(event, _bridge_of(room), room.id if room else None)
        else:
            self._record_event(event, "The call" if not call.leg_uuid else "A leg", None)

    def _answer_sip_leg(self, call: Callback, session_id: str) -> Ncco:
        """Answer a leg that comes out of a session: our own dial's, or somebody else's."""
        room = self.store.room_by_session(session_id)
        if room is None:
            text = "A SIP leg asked for a session that is not open here; it is told goodbye."
            self._record("voice-answer", text, call)
            return ncco.goodbye(ncco.GOODBYE_UNKNOWN_SESSION)
        if call.nonce is not None:
            return self._answer_own_dial(call, room, call.nonce)
        living = self.store.living_bridge(room)
        if living is not None and living.leg_uuid != call.leg_uuid:
            return self._unwanted(call, "It was not dialled by this kit, whose bridge is there already", room)
        self._record(
            "voice-answer", f"{_bridge_of(room)} answered and joins. It was not dialled by this kit.", call, room.id
        )
        return ncco.join(session_id, end_on_exit=True)

    def _answer_own_dial(self, call: Callback, room: Room, nonce: str) -> Ncco:
        """Answer the leg of a dial of ours, whose own answer may have been lost: now its leg is known."""
        bridge = self.store.bridge_of_nonce(nonce)
        if bridge is None or bridge.room_id != room.id:
            return self._unwanted(call, "No dial is known that it could come of", room)
        answered = self.store.bridge_answered(room.session_id, call.leg_uuid, nonce)
        if answered is None or not answered.living:
            why = "Another leg of its dial is there" if bridge.living else "Its dial was hung up meanwhile"
            return self._unwanted(call, why, room)
        if bridge.number is not None:
            text = f"The direct call of room {room.name!r} answered; phone {bridge.masked_number} is called."
            self._record("voice-answer", text, call, room.id)
            return ncco.call_phone(bridge.number, bridge.caller_id or self._number)
        self._record("voice-answer", f"{_bridge_of(room)} answered and joins.", call, room.id)
        return ncco.join(room.session_id, end_on_exit=True)

    def _unwanted(self, call: Callback, why: str, room: Room) -> Ncco:
        text = f"A SIP leg came for room {room.name!r} that nobody waits for, and is hung up. {why}."
        self._record("voice-answer", text, call, room.id)
        return ncco.leave()

    def _right(self, call: Callback, caller: Caller, verdict: Admitted, music_url: str) -> Ncco:
        """Let a phone in, or let it wait, or send it away: what its room wants of who has the right PIN."""
        room, pin = verdict.room, verdict.pin
        whose = "its own PIN" if pin.own else "the PIN"
        text = f"{_phone(caller)} typed {whose} of room {room.name!r}"
        turned_away = self._turned_away(room, caller, verdict)
        if turned_away:
            self._record("voice-dtmf", f"{text}, and is told goodbye: {turned_away[0]}.", call, room.id)
            return ncco.goodbye(turned_away[1])
        if pin.kind != "host" and caller.state != "joined" and (room.lobby or verdict.doubtful):
            self.store.caller_seen(call.leg_uuid, call.number, "waiting", room.id, pin)
            why = "" if room.lobby else ", as somebody is guessing PINs"
            self._record("lobby", f"{text} and waits for a host to admit it{why}.", call, room.id)
            return ncco.wait_in_lobby(music_url)
        self.store.caller_seen(call.leg_uuid, call.number, "joined", room.id, pin)
        self._record("voice-dtmf", f"{text} and joins.", call, room.id)
        return ncco.join(room.session_id)

    def _turned_away(self, room: Room, caller: Caller, verdict: Admitted) -> tuple[str, str] | None:
        """Why a phone with the right PIN is not let in, and what it is told."""
        if caller.state == "joined" or verdict.pin.kind == "host":
            return None
        if room.locked:
            return "the room is locked", ncco.GOODBYE_LOCKED
        if self.store.joined(room.id) >= self._settings.room_size:
            return "the room is full", ncco.GOODBYE_FULL
        return None

    def _wrong(self, call: Callback, caller: Caller, event_url: str, typed: str, verdict: Refused) -> Ncco:
        text = f"{_phone(caller)} typed {typed} that are no room's PIN (try {verdict.tries})"
        if not verdict.tries_left:
            self._record("voice-dtmf", f"{text}; it is told goodbye.", call)
            return ncco.goodbye(ncco.GOODBYE_AFTER_WRONG_PINS)
        self._record("voice-dtmf", f"{text}; it is asked again.", call)
        return ncco.wrong_pin(event_url, self._prompt_length(), verdict.tries_left)

    def _silent(self, call: Callback, caller: Caller, event_url: str) -> Ncco:
        tries = self.store.silent_try(call.leg_uuid)
        text = f"{_phone(caller)} typed nothing"
        if tries >= MAX_SILENT_TRIES:
            self._record("voice-dtmf", f"{text} again; it is told goodbye.", call)
            return ncco.goodbye(ncco.GOODBYE_AFTER_SILENCE)
        self._record("voice-dtmf", f"{text}; it is asked again.", call)
        return ncco.nothing_typed(event_url, self._prompt_length())

    def _note_bridge(self, bridge: Bridge, event: Event) -> None:
        if event.status in GONE:
            self.store.end_bridge_of_leg(event.about.leg_uuid, f"the phone side said {event.status}")
        self._record_event(event, _bridge_of(self.store.room_of(bridge)), bridge.room_id)
        if event.status in GONE:
            meter.tell(self.store, self._settings, bridge)

    def _note_called(self, event: Event) -> None:
        """Note news of a phone that a direct call rings: it has called nobody, so it is no caller of the conference."""
        call = self.store.call_to(event.to.lstrip("+"))
        who = f"The called phone {mask_number(event.to)}"
        self._record_event(event, who, call.room_id if call else None, "called-phone")

    def _record_event(self, event: Event, who: str, room_id: int | None, kind: str = "voice-events") -> None:
        self._charge(event, room_id)
        text = f"{who}: {event.status or event.detail or 'news of another kind'}"
        if event.status and event.detail:
            text += f" ({event.detail})"
        if event.seconds:
            text += f", after {event.seconds} s"
        self._record(kind, f"{text}.", event.about, room_id, event.status)

    def _charge(self, event: Event, room_id: int | None) -> None:
        """Keep from when to when a leg is charged for, and at what price in the end."""
        leg_uuid = event.about.leg_uuid
        kind: Kind = "outbound" if event.outbound else "inbound"
        if leg_uuid and event.status == "answered":
            self.store.leg_answered(leg_uuid, kind, room_id)
        elif leg_uuid and event.status in GONE:
            self.store.leg_gone(leg_uuid, kind, room_id, int(event.seconds or 0), event.price)

    def _record(self, kind: str, text: str, call: Callback, room_id: int | None = None, status: str = "") -> None:
        data = {"leg": call.leg_uuid, "from": call.number} | ({"status": status} if status else {})
        self.store.record(kind, text, room_id, data)

    def _no_public_url(self) -> Ncco:
        text = "No address is known for the keys of a phone, so the call was ended with an apology."
        fix = _FIX_IN_SANDBOX if self._in_sandbox else _FIX_LIVE
        self.store.record("voice-answer", f"{text} {fix}")
        log.warning("%s Fix: %s", text, fix)
        return ncco.goodbye(ncco.SORRY)

    def _url(self, route: str) -> str | None:
        """The address by which the platform reaches one of our routes."""
        base = self.public_url()
        return f"{base.rstrip('/')}/{route}" if base else None

    @property
    def _in_sandbox(self) -> bool:
        return self._settings.mode == "sandbox"

    def _local_url(self) -> str | None:
        return os.environ.get("SIPKIT_LOCAL_URL") if self._in_sandbox else None

    def _server_url(self) -> str | None:
        # The sandbox never leaves this machine, whatever .env says of a public address; and Vonage
        # never comes to an address that means "this machine" to everybody.
        url = self._settings.server_url
        return url if url is not None and on_this_machine(url) == self._in_sandbox else None

    def _prompt_length(self) -> int:
        """Digits to wait for: one's own PINs are longer, and rooms opened before PIN_LENGTH was lowered keep theirs."""
        return max(self._settings.pin_length, self.store.longest_pin())


def _phone(caller: Caller) -> str:
    return f"Phone {caller.masked_number}"


def _bridge_of(room: Room | None) -> str:
    return f"The bridge of room {room.name!r}" if room is not None else "A bridge of no room here"
