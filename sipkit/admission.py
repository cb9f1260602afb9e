"""What lets a phone into its room's conversation, whoever lets it in: the webhooks, or a host from another process."""

from sipkit import ncco
from sipkit.ncco import Ncco
from sipkit.rooms import Room
from sipkit.store import Store

_ADDRESS = "lobby_address"


def document(room: Room, base_url: str | None, *, heard: bool, host: bool = False) -> Ncco:
    """Return the call document by which a phone joins.

    In a room that waits for its host, a host's phone starts the conversation and ends it for everybody, and so does
    the bridge, which only hosts dial; all others hear music until then.

    Args:
        room: The room.
        base_url: The address by which the platform reaches the webhook server; None: nobody knows it.
        heard: Whether the keys of the call are listened to.
        host: Whether it typed the host's PIN.
    """
    return ncco.join_phone(
        room.session_id,
        keys_url=f"{base_url}/voice-keys" if base_url and heard else None,
        music_url=f"{base_url}/hold-music.mp3" if base_url and room.waits_for_host else None,
        host=host and room.waits_for_host,
    )


def keep_address(store: Store, base_url: str, *, heard: bool) -> None:
    """Keep by which address a phone that waits in the lobby is served, for whoever lets it in."""
    store.set_fact(_ADDRESS, f"{'keys' if heard else 'deaf'} {base_url}")


def document_from_lobby(store: Store, room: Room) -> Ncco:
    """Return the call document that lets in a phone that waits in the lobby."""
    heard, _space, base_url = (store.fact(_ADDRESS) or "").partition(" ")
    return document(room, base_url or None, heard=heard == "keys")
