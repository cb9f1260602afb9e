"""Checks of the voice application: its capabilities, where its webhooks point, and whether they are signed."""

from http import HTTPStatus
from typing import Any, Final

from sipkit.doctor.finding import Finding, failure, ok, skipped, warning
from sipkit.doctor.patient import Patient
from sipkit.refusals import on_this_machine

METHODS: Final = {"answer_url": "GET", "event_url": "POST"}
"""How sipkit asks each webhook to be called: the platform's own defaults (Application API v2)."""

PATHS: Final = {"answer_url": "/voice-answer", "event_url": "/voice-events"}
_START = "Run board.start_webhook_server() (any lesson does): it enters both URLs into the application."
_NO_ID = "VONAGE_APPLICATION_ID is not set."
_HOOKS_BY_HAND = f"{_NO_ID} In the dashboard, see that both URLs lead to this project's public address."
_SIGNING_BY_HAND = f"{_NO_ID} In the dashboard, see that the application, voice, uses signed webhooks."
_BY_HAND = "Put the application's id into .env as VONAGE_APPLICATION_ID (dashboard, Applications)."


def capabilities(patient: Patient) -> Finding:
    """Is there such an application, and may it do what is asked of it?"""
    check = "application"
    if not patient.account.application_id:
        return warning(check, f"{_NO_ID} The webhooks must be entered by hand.", _BY_HAND)
    answer = patient.application()
    if answer.status == HTTPStatus.NOT_FOUND:
        fix = "Check VONAGE_APPLICATION_ID in .env (dashboard, Applications)."
        return failure(check, "The account has no application with this id.", fix)
    if answer.refused:
        fix = "Compare VOICE_API_KEY and VOICE_API_SECRET in .env with the dashboard (API settings)."
        return failure(check, "The Application API refuses the account's key and secret.", fix)
    if not answer.good:
        return failure(check, f"The Application API could not be asked: {answer.saw}.", "Try again in a minute.")
    needed = {"voice"} | ({"video"} if patient.account.video_environment == "unified" else set())
    has = answer.body.get("capabilities")
    missing = sorted(needed - set(has if isinstance(has, dict) else ()))
    if missing:
        fix = f"In the dashboard, open the application, switch {' and '.join(missing)} on, and save it."
        return failure(check, f"The application lacks the capability {' and '.join(missing)}.", fix)
    return ok(check, f"has the capability {' and '.join(sorted(needed))}")


def webhooks(patient: Patient) -> Finding:
    """Do the application's webhooks point at our server, with the methods it expects?"""
    check = "webhook URLs"
    if not patient.account.application_id:  # without one the same request reads the list of applications
        return skipped(check, _HOOKS_BY_HAND)
    if not patient.application().good:
        return skipped(check, "The application could not be read.")
    hooks = patient.voice().get("webhooks")
    hooks = hooks if isinstance(hooks, dict) else {}
    if patient.server() is None or not patient.public_url:
        return _without_server(check, hooks)
    problems = [problem for name in METHODS for problem in _problems(patient.public_url, name, hooks.get(name))]
    if problems:
        return failure(check, "; ".join(problems), _START)
    return ok(check, "answer and event URL point at this webhook server")


def _without_server(check: str, hooks: dict[str, Any]) -> Finding:
    if not any(name in hooks for name in METHODS):
        return skipped(check, "None are set yet; board.start_webhook_server() enters them.")
    return skipped(check, "No webhook server runs here; board.start_webhook_server() points them at it.")


def _problems(public_url: str, name: str, hook: Any) -> list[str]:
    hook = hook if isinstance(hook, dict) else {}
    if not hook.get("address"):
        return [f"{name} is not set"]
    found = []
    if hook["address"] != f"{public_url}{PATHS[name]}":
        found.append(f"{name} points somewhere else")
    if hook.get("http_method", METHODS[name]) != METHODS[name]:
        found.append(f"{name} is asked with {hook['http_method']}, not {METHODS[name]}")
    return found


def secure_webhooks(patient: Patient) -> Finding:
    """Is the way to the webhooks encrypted, when it leaves this machine? PINs travel on it."""
    check = "webhook encryption"
    if not patient.public_url:
        return skipped(check, "No public address is known yet.")
    if patient.public_url.startswith("https://") or (on_this_machine(patient.public_url) and not patient.live):
        return ok(check, "https" if patient.public_url.startswith("https") else "stays on this machine")
    fix = "Put a certificate in front of SERVER_URL, or use a tunnel (NGROK_AUTHTOKEN): theirs have one."
    return warning(check, "Webhooks travel over http: whoever stands between can read PINs.", fix)


def signed(patient: Patient) -> Finding:
    """Does the platform sign its webhooks, and do we know the secret to check them with?"""
    check = "signed webhooks"
    if not patient.account.signature_secret.get_secret_value():
        fix = "Copy the signature secret from the dashboard (API settings) into .env as SIGNATURE_SECRET."
        return failure(check, "SIGNATURE_SECRET is not set: anybody could pretend to be Vonage.", fix)
    if not patient.account.application_id:
        return skipped(check, _SIGNING_BY_HAND)
    if not patient.application().good:
        return skipped(check, "The application could not be read.")
    # Signed unless switched off (developer.vonage.com, "Signed webhooks").
    if patient.voice().get("signed_callbacks", True) is not True:
        fix = f"{_START} Or in the dashboard: the application, voice, use signed webhooks."
        return failure(check, "The application's webhooks are not signed, so our server refuses them.", fix)
    return ok(check, "the application signs them, and there is a secret to check them with")
