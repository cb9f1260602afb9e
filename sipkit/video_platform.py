"""Which video environment it is: the one place that chooses, so that nothing else ever sees the difference."""

from typing import TYPE_CHECKING

from sipkit.unified_video import UnifiedVideo
from sipkit.video import OpenTokVideo

if TYPE_CHECKING:
    from sipkit.cloud import Account


def video_platform(account: "Account") -> OpenTokVideo | UnifiedVideo:
    """Return the video side of an account, in the environment its credentials belong to.

    Raises:
        SettingsError: The credentials cannot be those of that environment.
    """
    return UnifiedVideo(account) if account.video_environment == "unified" else OpenTokVideo(account)
