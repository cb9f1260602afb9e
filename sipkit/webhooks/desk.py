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
no keys, for less than the first digit may take               -> ask again
no keys, for longer                                           -> goodbye

What is pressed later, in the call, is for `key_desk`.
"""

from typing import Final, Literal

from sipkit import admission, meter, ncco
from sipkit.errands import Errand
from sipkit.ncco import Ncco
from sipkit.phrases import Phrase, Speaker
from sipkit.pin_desk import Admitted, PinDesk, Refused
from sipkit.pins import typed_pin
from sipkit.prices import Kind
from sipkit.rooms import Bridge, Caller, Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.timeline import mask_digits, mask_number
from sipkit.voice_calls import GONE
from sipkit.webhooks.address import Address
from sipkit.webhooks.callbacks import Callback, Event

COMING: Final = frozenset({"started", "ringing", "answered"})

TONE_SECONDS: Final = 10.0
"""Seconds in which a room hears one tone of each kind, however many come or go."""

_TICKET_SECONDS: Final = 86400.0  # longer than any call lasts


class Desk:
    """Decides what each leg shall do next, and keeps what happened.

    Args:
        settings: PIN length, languages, keys.
        store: Rooms, bridges, callers and the timeline.
        number: The conference number, which a phone shows that is called directly.
        address: Of this server, for what the platform shall ask next.
        voice_api: Whether legs can be spoken to, as keys and tones need: for that it takes the application's key.
    """

    def __init__(
        self, settings: Settings, store: Store, number: str, address: Address, *, voice_api: bool = True
    ) -> None:
        self.store = store
        self._number = number
        self._settings = settings
        self._pins = PinDesk(store)
        self._address = address
        self._heard = voice_api and any(settings.keypad.deeds())
        self._tones = voice_api and settings.phone_tones

    def answer(self, call: Callback) -> Ncco:
        """Answer a leg that has just called."""
        if call.session_id is not None:
            return self._answer_sip_leg(call, call.session_id)
        caller = self.store.caller_seen(call.leg_uuid, call.number, "asked")
        if self._pins.must_pause(call.number):
            text = f"{_phone(caller)} called, which typed too many wrong PINs; it is told to call later."
            self._record("voice-answer", text, call)
            return self._goodbye("goodbye_pause")
        base = self._address.known()
        if base is None:
            return self._goodbye("sorry")
        self._record("voice-answer", f"{_phone(caller)} called; it is asked for a PIN.", call)
        return ncco.ask_pin(_dtmf(base), self._prompt_length(), speaker=self._speaker(), seconds=self._seconds)

    def keys(self, call: Callback, keys: str, after: list[Errand]) -> Ncco:
        """Answer the keys that a leg pressed at a prompt, or their absence.

        Args:
            call: The leg.
            keys: What it pressed.
            after: Given what is to be done once all this is kept.
        """
        base = self._address.known()
        if base is None:
            return self._goodbye("sorry")
        caller = self.store.caller_seen(call.leg_uuid, call.number, "asked")
        pin = typed_pin(keys)
        if not pin:
            return self._silent(call, caller, base)
        verdict = self._pins.judge(call.leg_uuid, caller.number, pin)
        if isinstance(verdict, Refused):
            return self._wrong(call, caller, base, mask_digits(pin), verdict)
        return self._right(call, caller, base, verdict, after)

    def note(self, event: Event, after: list[Errand]) -> None:
        """Keep a piece of news: who is there, who left; `after` as for `keys`."""
        call = event.about
        bridge = self.store.bridge_of_leg(call.leg_uuid) if call.leg_uuid else None
        if bridge is not None:
            self._note_bridge(bridge, event)
        elif call.leg_uuid and event.outbound:
            self._note_called(event)
        elif call.leg_uuid and event.status in GONE:
            # Of a bridge whose answer webhook is still on its way, too: the store will remember.
            caller, before = self.store.caller_left(call.leg_uuid)
            self.store.forget_keys(call.leg_uuid)
            self._record_event(event, _phone(caller), caller.room_id)
            if before == "joined":
                self._sound("leave-tone", caller, after)
        elif call.leg_uuid and event.status in COMING and call.session_id is None:
            caller = self.store.caller_seen(call.leg_uuid, call.number, "calling")
            self._record_event(event, _phone(caller), caller.room_id)
        elif call.session_id is not None:
            room = self.store.room_by_session(call.session_id)
            self._record_event(event, _bridge_of(room), room.id if room else None)
        else:
            self._record_event(event, "The call" if not call.leg_uuid else "A leg", None)
            if event.detail == "transfer":
                self._moved(call, after)

    def _answer_sip_leg(self, call: Callback, session_id: str) -> Ncco:
        """Answer a leg that comes out of a session: our own dial's, or somebody else's."""
        room = self.store.room_by_session(session_id)
        if room is None:
            text = "A SIP leg asked for a session that is not open here; it is told goodbye."
            self._record("voice-answer", text, call)
            return self._goodbye("goodbye_session")
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

    def _right(self, call: Callback, caller: Caller, base: str, verdict: Admitted, after: list[Errand]) -> Ncco:
        """Let a phone in, or let it wait, or send it away: what its room wants of who has the right PIN."""
        room, pin = verdict.room, verdict.pin
        whose = "its own PIN" if pin.own else "the PIN"
        text = f"{_phone(caller)} typed {whose} of room {room.name!r}"
        turned_away = self._turned_away(room, caller, verdict)
        if turned_away:
            self._record("voice-dtmf", f"{text}, and is told goodbye: {turned_away[0]}.", call, room.id)
            return self._goodbye(turned_away[1], room)
        if pin.kind != "host" and caller.state != "joined" and (room.lobby or verdict.doubtful):
            self.store.caller_seen(call.leg_uuid, call.number, "waiting", room.id, pin)
            why = "" if room.lobby else ", as somebody is guessing PINs"
            self._record("lobby", f"{text} and waits for a host to admit it{why}.", call, room.id)
            admission.keep_address(self.store, base, heard=self._heard)
            return ncco.wait_in_lobby(f"{base}/hold-music", self._speaker(room))
        joined = self.store.caller_seen(call.leg_uuid, call.number, "joined", room.id, pin)
        self._record("voice-dtmf", f"{text} and joins.", call, room.id)
        self._entered(joined, after)
        return admission.document(room, base, heard=self._heard, host=pin.kind == "host")

    def _turned_away(self, room: Room, caller: Caller, verdict: Admitted) -> tuple[str, Phrase] | None:
        """Why a phone with the right PIN is not let in, and what it is told."""
        if caller.state == "joined" or verdict.pin.kind == "host":
            return None
        if room.locked:
            return "the room is locked", "goodbye_locked"
        if self.store.joined(room.id) >= self._settings.room_size:
            return "the room is full", "goodbye_full"
        return None

    def _wrong(self, call: Callback, caller: Caller, base: str, typed: str, verdict: Refused) -> Ncco:
        left = verdict.tries_left
        if not verdict.tries:
            self._record("voice-dtmf", f"{_phone(caller)} typed {typed}, and is told to call later.", call)
            return self._goodbye("goodbye_pause")
        text = f"{_phone(caller)} typed {typed} that are no room's PIN (try {verdict.tries})"
        if not left:
            self._record("voice-dtmf", f"{text}; it is told goodbye.", call)
            return self._goodbye("goodbye_wrong_pins")
        self._record("voice-dtmf", f"{text}; it is asked again.", call)
        return ncco.wrong_pin(_dtmf(base), self._prompt_length(), left, speaker=self._speaker(), seconds=self._seconds)

    def _silent(self, call: Callback, caller: Caller, base: str) -> Ncco:
        tries = self.store.silent_try(call.leg_uuid)
        text = f"{_phone(caller)} typed nothing"
        if tries >= self._settings.silent_rounds:
            self._record("voice-dtmf", f"{text} again; it is told goodbye.", call)
            return self._goodbye("goodbye_no_keys")
        self._record("voice-dtmf", f"{text}; it is asked again.", call)
        return ncco.nothing_typed(_dtmf(base), self._prompt_length(), speaker=self._speaker(), seconds=self._seconds)

    def _moved(self, call: Callback, after: list[Errand]) -> None:
        """Note that the platform moved a leg: of one that waited in the lobby it means that it is in."""
        caller = self.store.caller(call.leg_uuid) if call.leg_uuid else None
        if caller is not None and caller.state == "joined":
            self._entered(caller, after)

    def _entered(self, caller: Caller, after: list[Errand]) -> None:
        """Let the others hear, once for each phone, that it has come."""
        if self._tones and self.store.use_ticket(f"entered:{caller.leg_uuid}", self.store.time() + _TICKET_SECONDS):
            self._sound("join-tone", caller, after)

    def _sound(self, tone: Literal["join-tone", "leave-tone"], caller: Caller, after: list[Errand]) -> None:
        if not self._tones or caller.room_id is None:
            return
        base = self._address.public_url()
        if base is not None and not self.store.allow(f"{tone}:{caller.room_id}", 1, TONE_SECONDS):
            after.append(Errand(tone, caller.leg_uuid, caller.room_id, base.rstrip("/")))

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

    def _goodbye(self, phrase: Phrase, room: Room | None = None) -> Ncco:
        return ncco.goodbye(phrase, self._speaker(room))

    def _speaker(self, room: Room | None = None) -> Speaker:
        return self._settings.speaker(room.language if room is not None else "")

    @property
    def _seconds(self) -> int:
        return self._settings.next_digit_seconds

    def _prompt_length(self) -> int:
        """Digits to wait for: one's own PINs are longer, and rooms opened before PIN_LENGTH was lowered keep theirs."""
        return max(self._settings.pin_length, self.store.longest_pin())


def _dtmf(base: str) -> str:
    return f"{base}/voice-dtmf"


def _phone(caller: Caller) -> str:
    return f"Phone {caller.masked_number}"


def _bridge_of(room: Room | None) -> str:
    return f"The bridge of room {room.name!r}" if room is not None else "A bridge of no room here"
