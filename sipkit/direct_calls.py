"""Direct calls: one phone number is called into a room's session, instead of waiting for it to dial in.

The session dials the conference number as always, for only calls to a number of the account reach our webhooks; the
dial's nonce tells our answer webhook which call it is, and that connects the leg to the phone (NCCO `connect`).
Vonage's learning server of 2026 does it like this. The number itself stays out of SIP: it is looked up by the nonce.
The older way, a dial straight to ``sip:{number}@sip.nexmo.com``, gives a leg that no webhook of ours ever hears of.

Who may be called is a list of allowed countries, and inside them only ordinary lines: what a caller is charged extra
for, what no subscriber owns, and emergency numbers are refused before anything is asked of the platform.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from sipkit.errors import CallNotConfirmed, NumberRefused, SettingsError
from sipkit.rooms import Bridge, HangUp, Room
from sipkit.timeline import mask_number

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

    from sipkit.bridges import Bridges
    from sipkit.cloud import Account
    from sipkit.front_door import FrontDoor
    from sipkit.settings import Settings
    from sipkit.store import Store

Confirm = Callable[[str], bool]
"""Is shown what is about to happen, number and all, and says whether it shall."""

_ANOTHER = "Call an ordinary line or mobile of an allowed country, by its whole number, such as +12025550123."


class DirectCalls:
    """The part of a `Switchboard` that calls phones."""

    _settings: "Settings"
    _store: "Store"
    _bridges: "Bridges"

    @property
    def mode(self) -> Literal["sandbox", "live"]:
        """Who answers."""
        raise NotImplementedError

    def _watched(self, bridge: Bridge) -> Bridge:
        raise NotImplementedError

    def _room(self, room: Room | str) -> Room:
        raise NotImplementedError

    def _account(self) -> "Account":
        raise NotImplementedError

    def _require_budget(self, room: Room) -> None:
        raise NotImplementedError

    def _front_door(self) -> "FrontDoor":
        raise NotImplementedError

    def call(
        self, room: Room | str, number: str, caller_id: str | None = None, confirm: Confirm | None = None
    ) -> Bridge:
        """Call a phone into a room's session. A living call to the same number is returned, never doubled.

        Args:
            room: The room, or its name.
            number: Whom to call, with country code.
            caller_id: What the phone shows, a number of the account; the conference number unless given.
            confirm: Is shown what is about to happen, with the whole number, and says whether it shall. Live,
                nothing is dialled without it.

        Raises:
            NumberRefused: The number is none, or may not be called from here.
            CallNotConfirmed: Nobody agreed to a real, billed call.
            ServerError: No webhook server runs, so nobody would connect the call.
            BudgetSpent: The room has cost what it may.
            SettingsError: No prefixes are set, and the conference number is in no country.
            DialUncertain: The answer to the dial was lost; nothing is dialled again until it is hung up.
            DialRefused, AuthenticationRefused, PlatformUnreachable: No call was placed.
        """
        room, account = self._room(room), self._account()
        digits = allowed_number(number, account.conference_number, self._settings.call_prefixes)
        shown = None if caller_id is None else _digits(caller_id)
        self._front_door().require_open()
        self._require_budget(room)
        _require_consent(self.mode, digits, confirm)
        return self._watched(self._bridges.dial(room, digits, shown))

    def calls(self, room: Room | str) -> list[Bridge]:
        """Return a room's living direct calls, in the order they were dialled."""
        return self._store.living_calls(self._room(room))

    def hang_up_call(self, room: Room | str, number: str) -> HangUp:
        """End a room's call to one number; a number that is not being called is no error.

        Raises:
            AuthenticationRefused, PlatformUnreachable: The call may still be up.
        """
        return self._bridges.hang_up(self._room(room), _digits(number))

    def hang_up_calls(self, room: Room | str) -> list[HangUp]:
        """End all of a room's direct calls; its bridge to the conference number stays.

        Raises:
            AuthenticationRefused, PlatformUnreachable: A call may still be up; those before it are ended.
        """
        room = self._room(room)
        return [self._bridges.end(room, call) for call in self._store.living_calls(room)]


def allowed_number(number: str, conference_number: str, prefixes: str | None) -> str:
    """Return the digits of a number that may be called.

    Args:
        number: As somebody typed it, with country code.
        conference_number: The account's own number (E.164 digits); its country is the one allowed by default.
        prefixes: Country prefixes with a space between, in place of that country. One that is only a country code
            stands for the country it is named after, or for home if that has it too: behind +1 are twenty more,
            such as Jamaica, which are called at their own prices. A longer one (1876) allows what begins with it.

    Raises:
        NumberRefused: It is none, or may not be called. The text shows its last digits only.
        SettingsError: Nobody can tell the country of the conference number, and no prefixes are set.
    """
    import phonenumbers
    from phonenumbers import PhoneNumberType, shortnumberinfo

    home = _home_of(conference_number)
    if home and shortnumberinfo.connects_to_emergency_number(number.strip(), home):
        raise NumberRefused("Emergency numbers cannot be called from here.", "Use a real phone, at once.")
    if home is None and prefixes is None:
        raise SettingsError(
            "Nobody can tell in which country the conference number is, so no country may be called.",
            "Correct CONFERENCE_NUMBER in .env, or set CALL_PREFIXES to what may be called, such as +1 +44.",
        )
    digits = _digits(number)
    masked = mask_number(digits)
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise NumberRefused(f"{masked} is no phone number.", _ANOTHER) from None
    if not phonenumbers.is_valid_number(parsed):
        raise NumberRefused(f"{masked} is no number that its country gives to anybody.", _ANOTHER)
    region = phonenumbers.region_code_for_number(parsed)
    inside = any(_inside(prefix, parsed, home) for prefix in prefixes.split()) if prefixes else region == home
    if not inside:
        raise NumberRefused(
            f"{masked} is in no country that may be called ({region or 'none'}).",
            "Set CALL_PREFIXES in .env to what may be called, such as +1 +44. A country that shares its code with a "
            "larger one needs its own, longer prefix, such as +1876 for Jamaica or +441481 for Guernsey.",
        )
    # Only what is known to be an ordinary line: premium rate, shared cost, personal numbers, pagers and the rest of
    # ITU-T E.164's special services may cost any sum a minute.
    ordinary = {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
        PhoneNumberType.TOLL_FREE,
    }
    if phonenumbers.number_type(parsed) not in ordinary:
        raise NumberRefused(f"{masked} is no ordinary line: calls to it may be charged extra.", _ANOTHER)
    return digits


def _home_of(conference_number: str) -> str | None:
    """Return the region of the account's own number; None if it is in none, as a made-up one is."""
    import phonenumbers

    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(f"+{conference_number}"))
    except phonenumbers.NumberParseException:
        return None


def _inside(prefix: str, number: "PhoneNumber", home: str | None) -> bool:
    """Tell whether a prefix allows a number; a mere country code only in its main region, and at home."""
    import phonenumbers

    code = str(number.country_code)
    if prefix != code:
        # Part of a code ("4") is no country; all that begins with it is not what anybody meant to allow.
        return len(prefix) > len(code) and f"{code}{phonenumbers.national_significant_number(number)}".startswith(
            prefix
        )
    main = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return phonenumbers.region_code_for_number(number) in {main, home}


def _digits(number: str) -> str:
    from sipkit import setting_forms

    try:
        return setting_forms.e164_digits(number.strip())
    except ValueError as error:
        raise NumberRefused(f"A number to call {error}; short numbers cannot be called.", _ANOTHER) from None


def _require_consent(mode: str, digits: str, confirm: Confirm | None) -> None:
    """Have somebody agree to what is about to happen; in the sandbox silence is consent, for nothing is billed.

    Raises:
        CallNotConfirmed: Nobody did.
    """
    text = f"This places a real, billed call to +{digits}."
    if mode == "sandbox":
        text = f"This rings the sandbox's phone +{digits}; nothing is billed."
    if confirm is None and mode == "live":
        raise CallNotConfirmed("A direct call is real and billed, and nobody was asked.")
    if confirm is not None and confirm(text) is not True:
        raise CallNotConfirmed("The call was not confirmed, so nothing was dialled.")
