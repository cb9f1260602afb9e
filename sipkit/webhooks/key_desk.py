"""The keys that a phone presses in a call: which deed they are, and what is kept of it at once.

Each key comes with a request of its own, to any worker (`sipkit.store.key_book`). What is decided is in the store when
the request is answered; the platform is asked for it afterwards, by the errand that is returned. No key is written
anywhere but there: somebody may press a PIN.
"""

from sipkit.errands import Errand
from sipkit.keypad import Keypad
from sipkit.rooms import Caller
from sipkit.store import Store
from sipkit.webhooks.callbacks import Callback


class KeyDesk:
    """Knows the keys of a call.

    Args:
        keypad: Which they are.
        store: The callers, and what they have keyed so far.
    """

    def __init__(self, keypad: Keypad, store: Store) -> None:
        self._keypad = keypad
        self._store = store

    def pressed(self, call: Callback, keys: str, at: float | None) -> list[Errand]:
        """Take keys of a phone in a call.

        Args:
            call: Whose.
            keys: Usually one.
            at: When, by the platform's clock; None if it does not say.
        """
        caller = self._store.caller(call.leg_uuid)
        if not keys or caller is None or caller.room_id is None or caller.state != "joined":
            return []
        deed = self._store.keyed(call.leg_uuid, keys, at, self._keypad.find)
        room_id = caller.room_id
        caller = self._store.caller(call.leg_uuid) or caller  # as other keys of it left it, which another worker took
        match deed:
            case None:
                return []
            case "mute":
                self._toggle_mute(caller)
            case "hand":
                self._store.set_hand(caller.leg_uuid, up=not caller.hand)
            case "count" | "help":
                pass
        return [Errand(deed, caller.leg_uuid, room_id)]

    def _toggle_mute(self, caller: Caller) -> None:
        """Keep what the phone wants; the errand makes the platform do it, and takes it back if it does not."""
        self._store.set_caller(caller.leg_uuid, muted=not caller.muted)
        if caller.muted:
            self._store.ask_unmute(caller.leg_uuid, on=False)
