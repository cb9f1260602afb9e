"""The measuring tools themselves: a ruler that is wrong would prove anything."""

import pytest
from playwright.sync_api import Error, Page

from tests.standins.browser import Pages, ServePages, colour, heard, wait_frames, wait_silence, wait_tone

pytestmark = pytest.mark.browser

# Both ends of a call in one page: what arrives has gone through the browser's own coders and RTP.
A_CALL = """
<!doctype html><title>call</title><video id="far" autoplay></video>
<script>
async function call(hz, colour) {
  const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
  near.onicecandidate = event => far.addIceCandidate(event.candidate);
  far.onicecandidate = event => near.addIceCandidate(event.candidate);
  const arrived = new MediaStream();
  far.ontrack = ({track}) => arrived.addTrack(track);
  window.sent = new MediaStream([measure.toneTrack(hz), measure.pictureTrack(colour)]);
  for (const track of sent.getTracks()) near.addTrack(track, sent);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  document.querySelector("#far").srcObject = arrived;
}
</script>
"""


@pytest.fixture
def page(new_page: Pages, serve_pages: ServePages) -> Page:
    """A page that can call itself."""
    page = new_page()
    page.goto(serve_pages({"call.html": A_CALL}) + "call.html")
    return page


def test_a_tone_and_a_picture_are_measured_as_sent(page: Page) -> None:
    """Through a real call the tone is found to 2 Hz, its level to 3 dB, the colour to 12 of 255."""
    page.evaluate("call(660, 'rgb(200, 40, 40)')")
    wait_tone(page, "#far", 660)
    wait_frames(page, "#far", 10)
    tone = heard(page, "#far")
    assert tone.hz == pytest.approx(660, abs=2)
    assert tone.level == pytest.approx(-15, abs=3)
    assert colour(page, "#far") == pytest.approx((200, 40, 40), abs=12)


def test_silence_is_measured_as_silence(page: Page) -> None:
    """A microphone switched off is silence at the far end, and so is a loudspeaker switched off."""
    page.evaluate("call(440, 'green')")
    wait_tone(page, "#far", 440)
    page.evaluate("sent.getAudioTracks()[0].enabled = false")
    wait_silence(page, "#far")
    page.evaluate("sent.getAudioTracks()[0].enabled = true")
    wait_tone(page, "#far", 440)
    page.evaluate("document.querySelector('#far').muted = true")
    assert heard(page, "#far").hz == 0


def test_what_does_not_come_is_told(page: Page) -> None:
    """A tone that is not there, and a picture that stands still, are failures that say what was measured."""
    page.evaluate("call(440, 'blue')")
    wait_tone(page, "#far", 440)
    with pytest.raises(Error, match=r"waited 0.3 s for a tone of 1000 Hz; heard 4\d\d"):
        wait_tone(page, "#far", 1000, seconds=0.3)
    page.evaluate("document.querySelector('#far').srcObject = null")
    with pytest.raises(Error, match="saw 0 of 5 frames"):
        wait_frames(page, "#far", 5, seconds=0.3)


def test_complaints_of_a_page_are_noted(new_page: Pages, serve_pages: ServePages) -> None:
    """An error a page writes to its console and one it does not catch are both known to the test."""
    page = new_page()
    page.goto(
        serve_pages({"a.html": "<script>console.error('ouch'); throw new Error('uncaught one')</script>"}) + "a.html"
    )
    assert any("ouch" in complaint for complaint in new_page.complaints)
    assert any("uncaught one" in complaint for complaint in new_page.complaints)
