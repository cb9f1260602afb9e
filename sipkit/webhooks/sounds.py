"""The sounds that phones are played. The platform fetches them without a signature, and so may anybody.

/hold-music        while a phone waits in the lobby                      -> WAV
/hold-music.mp3    while its conversation waits for the host             -> MP3
/tones/joined      when a phone has joined, /tones/left when one left    -> WAV
"""

from flask import Blueprint, Response

from sipkit.hold_music import hold_music, hold_music_mp3
from sipkit.tones import tone

sounds = Blueprint("sounds", __name__)


@sounds.route("/hold-music", methods=["GET"])
def music() -> Response:
    """Give the music of the lobby."""
    return Response(hold_music(), mimetype="audio/wav")


@sounds.route("/hold-music.mp3", methods=["GET"])
def music_mp3() -> Response:
    """Give the same as MP3."""
    return Response(hold_music_mp3(), mimetype="audio/mpeg")


@sounds.route("/tones/joined", methods=["GET"])
def joined() -> Response:
    """Give the tone of a phone that has joined."""
    return Response(tone("joined"), mimetype="audio/wav")


@sounds.route("/tones/left", methods=["GET"])
def left() -> Response:
    """Give the tone of a phone that has left."""
    return Response(tone("left"), mimetype="audio/wav")
