"""What a caller is told, in every language there is, and how the platform shall speak it.

The platform speaks by a language tag and a style, which is one of that language's voices (Voice API guide, "Text to
Speech", whose table of languages `LOCALES` is taken from as far as we have words). A text never holds a name, a
number or a PIN; a key is said in words, as in "star 6".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sipkit.errors import SettingsError

Phrase = Literal[
    "enter_pin", "no_keys", "wrong_pin", "last_try", "wait", "goodbye_no_keys", "goodbye_wrong_pins",
    "goodbye_session", "goodbye_pause", "goodbye_locked", "goodbye_full", "goodbye_not_admitted", "goodbye_closed",
    "goodbye_no_host", "sorry", "muted", "unmuted", "unmute_asked", "hand_up", "hand_down", "count", "count_phones",
    "alone", "help_mute", "help_hand", "help_count", "help_help", "ends_soon", "star", "hash",
]  # fmt: skip
PHRASES: Final[tuple[Phrase, ...]] = get_args(Phrase)

TALK_LIMIT: Final = 1500
"""Characters of one text that the platform speaks (NCCO reference, talk)."""

LOCALES: Final = ("en-US", "en-GB", "en-AU", "en-IN", "en-ZA", "de-DE", "fr-FR", "es-ES", "pt-PT", "it-IT")
"""The tags of the platform's table whose words we have. Where a key has another name, as # in Mexico and Brazil, a
country needs words of its own."""

_ENGLISH: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Please enter a pin code to join the session, followed by the hash key.",
    "no_keys": "I did not hear any keys. Please enter the pin code, followed by the hash key.",
    "wrong_pin": "That pin code is not right. You have {tries} more tries. Please enter the pin code.",
    "last_try": "That pin code is not right. You have one more try. Please enter the pin code.",
    "wait": "Thank you. Please wait until the host lets you in.",
    "goodbye_no_keys": "I did not hear any keys. Goodbye.",
    "goodbye_wrong_pins": "That pin code is not right either. Goodbye.",
    "goodbye_session": "This session is not open here. Goodbye.",
    "goodbye_pause": "Too many wrong pin codes came from your number. Please call again later. Goodbye.",
    "goodbye_locked": "The host lets nobody else in. Goodbye.",
    "goodbye_full": "The room is full. Please call again later. Goodbye.",
    "goodbye_not_admitted": "Nobody could let you in. Please call again later. Goodbye.",
    "goodbye_closed": "The room was closed. Goodbye.",
    "goodbye_no_host": "Nobody has come to this call. Please call again later. Goodbye.",
    "sorry": "Sorry, something went wrong. Please call again later.",
    "muted": "You are muted.",
    "unmuted": "You can be heard again.",
    "unmute_asked": "The host would like to hear you. To unmute yourself, press {key}.",
    "hand_up": "Your hand is raised.",
    "hand_down": "Your hand is lowered.",
    "count": "In this call: phones, {phones}. Browsers, {browsers}.",
    "count_phones": "In this call: phones, {phones}.",
    "alone": "You are the only one here.",
    "help_mute": "To mute or unmute yourself, press {key}.",
    "help_hand": "To raise or lower your hand, press {key}.",
    "help_count": "To hear how many are in this call, press {key}.",
    "help_help": "To hear this again, press {key}.",
    "ends_soon": "This call will end in less than a minute.",
    "star": "star",
    "hash": "hash",
}

_GERMAN: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Bitte geben Sie Ihre PIN ein und drücken Sie dann die Rautetaste.",
    "no_keys": "Ich habe keine Taste gehört. Bitte geben Sie die PIN ein und drücken Sie dann die Rautetaste.",
    "wrong_pin": "Diese PIN stimmt nicht. Sie haben noch {tries} Versuche. Bitte geben Sie die PIN ein.",
    "last_try": "Diese PIN stimmt nicht. Sie haben noch einen Versuch. Bitte geben Sie die PIN ein.",
    "wait": "Danke. Bitte warten Sie, bis Sie hereingelassen werden.",
    "goodbye_no_keys": "Ich habe keine Taste gehört. Auf Wiederhören.",
    "goodbye_wrong_pins": "Auch diese PIN stimmt nicht. Auf Wiederhören.",
    "goodbye_session": "Diese Sitzung ist hier nicht geöffnet. Auf Wiederhören.",
    "goodbye_pause": "Von Ihrer Nummer kamen zu viele falsche PINs. Bitte rufen Sie später wieder an. Auf Wiederhören.",
    "goodbye_locked": "Es wird niemand mehr hereingelassen. Auf Wiederhören.",
    "goodbye_full": "Der Raum ist voll. Bitte rufen Sie später wieder an. Auf Wiederhören.",
    "goodbye_not_admitted": "Niemand konnte Sie hereinlassen. Bitte rufen Sie später wieder an. Auf Wiederhören.",
    "goodbye_closed": "Der Raum wurde geschlossen. Auf Wiederhören.",
    "goodbye_no_host": "Niemand ist zu diesem Gespräch gekommen. Bitte rufen Sie später wieder an. Auf Wiederhören.",
    "sorry": "Es tut uns leid, etwas ist schiefgegangen. Bitte rufen Sie später wieder an.",
    "muted": "Sie sind stumm geschaltet.",
    "unmuted": "Sie sind wieder zu hören.",
    "unmute_asked": "Man möchte Sie hören. Um Ihr Mikrofon einzuschalten, drücken Sie {key}.",
    "hand_up": "Ihre Hand ist gehoben.",
    "hand_down": "Ihre Hand ist wieder unten.",
    "count": "In diesem Gespräch: Telefone, {phones}. Browser, {browsers}.",
    "count_phones": "In diesem Gespräch: Telefone, {phones}.",
    "alone": "Sie sind allein in diesem Gespräch.",
    "help_mute": "Um sich stumm zu schalten oder wieder zu hören zu sein, drücken Sie {key}.",
    "help_hand": "Um die Hand zu heben oder zu senken, drücken Sie {key}.",
    "help_count": "Um zu hören, wie viele in diesem Gespräch sind, drücken Sie {key}.",
    "help_help": "Um dies noch einmal zu hören, drücken Sie {key}.",
    "ends_soon": "Dieses Gespräch endet in weniger als einer Minute.",
    "star": "Stern",
    "hash": "Raute",
}

_FRENCH: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Veuillez saisir votre code, puis appuyer sur la touche dièse.",
    "no_keys": "Je n'ai entendu aucune touche. Veuillez saisir le code, puis appuyer sur la touche dièse.",
    "wrong_pin": "Ce code n'est pas valable. Il vous reste {tries} essais. Veuillez saisir le code.",
    "last_try": "Ce code n'est pas valable. Il vous reste un essai. Veuillez saisir le code.",
    "wait": "Merci. Veuillez patienter jusqu'à ce que l'hôte vous laisse entrer.",
    "goodbye_no_keys": "Je n'ai entendu aucune touche. Au revoir.",
    "goodbye_wrong_pins": "Ce code n'est pas valable non plus. Au revoir.",
    "goodbye_session": "Cette session n'est pas ouverte ici. Au revoir.",
    "goodbye_pause": "Trop de codes erronés sont venus de votre numéro. Veuillez rappeler plus tard. Au revoir.",
    "goodbye_locked": "L'hôte ne laisse plus entrer personne. Au revoir.",
    "goodbye_full": "La salle est pleine. Veuillez rappeler plus tard. Au revoir.",
    "goodbye_not_admitted": "Personne n'a pu vous laisser entrer. Veuillez rappeler plus tard. Au revoir.",
    "goodbye_closed": "La salle a été fermée. Au revoir.",
    "goodbye_no_host": "Personne n'est venu à cet appel. Veuillez rappeler plus tard. Au revoir.",
    "sorry": "Désolé, un problème est survenu. Veuillez rappeler plus tard.",
    "muted": "Votre micro est coupé.",
    "unmuted": "On vous entend de nouveau.",
    "unmute_asked": "L'hôte souhaite vous entendre. Pour activer votre micro, appuyez sur {key}.",
    "hand_up": "Votre main est levée.",
    "hand_down": "Votre main est baissée.",
    "count": "Dans cet appel : téléphones, {phones}. Navigateurs, {browsers}.",
    "count_phones": "Dans cet appel : téléphones, {phones}.",
    "alone": "Vous êtes seul dans cet appel.",
    "help_mute": "Pour couper ou activer votre micro, appuyez sur {key}.",
    "help_hand": "Pour lever ou baisser la main, appuyez sur {key}.",
    "help_count": "Pour savoir combien de personnes sont dans cet appel, appuyez sur {key}.",
    "help_help": "Pour réentendre ceci, appuyez sur {key}.",
    "ends_soon": "Cet appel se terminera dans moins d'une minute.",
    "star": "étoile",
    "hash": "dièse",
}

_SPANISH: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Por favor, marque su código y después la tecla almohadilla.",
    "no_keys": "No he oído ninguna tecla. Por favor, marque el código y después la tecla almohadilla.",
    "wrong_pin": "Ese código no es correcto. Le quedan {tries} intentos. Por favor, marque el código.",
    "last_try": "Ese código no es correcto. Le queda un intento. Por favor, marque el código.",
    "wait": "Gracias. Por favor, espere hasta que le dejen entrar.",
    "goodbye_no_keys": "No he oído ninguna tecla. Adiós.",
    "goodbye_wrong_pins": "Ese código tampoco es correcto. Adiós.",
    "goodbye_session": "Esta sesión no está abierta aquí. Adiós.",
    "goodbye_pause": "Han llegado demasiados códigos incorrectos de su número. Llame más tarde, por favor. Adiós.",
    "goodbye_locked": "Ya no se deja entrar a nadie más. Adiós.",
    "goodbye_full": "La sala está llena. Llame más tarde, por favor. Adiós.",
    "goodbye_not_admitted": "Nadie ha podido dejarle entrar. Llame más tarde, por favor. Adiós.",
    "goodbye_closed": "La sala se ha cerrado. Adiós.",
    "goodbye_no_host": "Nadie ha venido a esta llamada. Llame más tarde, por favor. Adiós.",
    "sorry": "Lo sentimos, algo ha fallado. Llame más tarde, por favor.",
    "muted": "Su micrófono está apagado.",
    "unmuted": "Se le oye otra vez.",
    "unmute_asked": "Quieren oírle. Para encender su micrófono, pulse {key}.",
    "hand_up": "Su mano está levantada.",
    "hand_down": "Su mano está bajada.",
    "count": "En esta llamada: teléfonos, {phones}. Navegadores, {browsers}.",
    "count_phones": "En esta llamada: teléfonos, {phones}.",
    "alone": "No hay nadie más en esta llamada.",
    "help_mute": "Para apagar o encender su micrófono, pulse {key}.",
    "help_hand": "Para levantar o bajar la mano, pulse {key}.",
    "help_count": "Para oír cuántos hay en esta llamada, pulse {key}.",
    "help_help": "Para oír esto otra vez, pulse {key}.",
    "ends_soon": "Esta llamada terminará en menos de un minuto.",
    "star": "asterisco",
    "hash": "almohadilla",
}

_PORTUGUESE: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Por favor, digite o seu código e depois a tecla cardinal.",
    "no_keys": "Não ouvi nenhuma tecla. Por favor, digite o código e depois a tecla cardinal.",
    "wrong_pin": "Esse código não está certo. Restam {tries} tentativas. Por favor, digite o código.",
    "last_try": "Esse código não está certo. Resta uma tentativa. Por favor, digite o código.",
    "wait": "Obrigado. Por favor, aguarde até que o deixem entrar.",
    "goodbye_no_keys": "Não ouvi nenhuma tecla. Até logo.",
    "goodbye_wrong_pins": "Esse código também não está certo. Até logo.",
    "goodbye_session": "Esta sessão não está aberta aqui. Até logo.",
    "goodbye_pause": "Vieram demasiados códigos errados do seu número. Por favor, ligue mais tarde. Até logo.",
    "goodbye_locked": "Já não se deixa entrar mais ninguém. Até logo.",
    "goodbye_full": "A sala está cheia. Por favor, ligue mais tarde. Até logo.",
    "goodbye_not_admitted": "Ninguém o pôde deixar entrar. Por favor, ligue mais tarde. Até logo.",
    "goodbye_closed": "A sala foi fechada. Até logo.",
    "goodbye_no_host": "Ninguém veio a esta chamada. Por favor, ligue mais tarde. Até logo.",
    "sorry": "Lamentamos, algo correu mal. Por favor, ligue mais tarde.",
    "muted": "O seu microfone está desligado.",
    "unmuted": "Já o ouvem outra vez.",
    "unmute_asked": "Querem ouvi-lo. Para ligar o seu microfone, prima {key}.",
    "hand_up": "A sua mão está levantada.",
    "hand_down": "A sua mão está baixada.",
    "count": "Nesta chamada: telefones, {phones}. Navegadores, {browsers}.",
    "count_phones": "Nesta chamada: telefones, {phones}.",
    "alone": "Não há mais ninguém nesta chamada.",
    "help_mute": "Para desligar ou ligar o seu microfone, prima {key}.",
    "help_hand": "Para levantar ou baixar a mão, prima {key}.",
    "help_count": "Para ouvir quantos estão nesta chamada, prima {key}.",
    "help_help": "Para ouvir isto outra vez, prima {key}.",
    "ends_soon": "Esta chamada terminará em menos de um minuto.",
    "star": "asterisco",
    "hash": "cardinal",
}

_ITALIAN: Final[Mapping[Phrase, str]] = {
    "enter_pin": "Digiti il codice e poi il tasto cancelletto.",
    "no_keys": "Non ho sentito nessun tasto. Digiti il codice e poi il tasto cancelletto.",
    "wrong_pin": "Questo codice non è giusto. Restano {tries} tentativi. Digiti il codice.",
    "last_try": "Questo codice non è giusto. Resta un tentativo. Digiti il codice.",
    "wait": "Grazie. Attenda che qualcuno la faccia entrare.",
    "goodbye_no_keys": "Non ho sentito nessun tasto. Arrivederci.",
    "goodbye_wrong_pins": "Neanche questo codice è giusto. Arrivederci.",
    "goodbye_session": "Questa sessione non è aperta qui. Arrivederci.",
    "goodbye_pause": "Dal suo numero sono arrivati troppi codici sbagliati. Richiami più tardi. Arrivederci.",
    "goodbye_locked": "Non si fa più entrare nessuno. Arrivederci.",
    "goodbye_full": "La stanza è piena. Richiami più tardi. Arrivederci.",
    "goodbye_not_admitted": "Nessuno ha potuto farla entrare. Richiami più tardi. Arrivederci.",
    "goodbye_closed": "La stanza è stata chiusa. Arrivederci.",
    "goodbye_no_host": "Nessuno è venuto a questa chiamata. Richiami più tardi. Arrivederci.",
    "sorry": "Spiacenti, qualcosa è andato storto. Richiami più tardi.",
    "muted": "Il suo microfono è spento.",
    "unmuted": "Ora la sentono di nuovo.",
    "unmute_asked": "Vorrebbero sentirla. Per accendere il microfono, prema {key}.",
    "hand_up": "La sua mano è alzata.",
    "hand_down": "La sua mano è abbassata.",
    "count": "In questa chiamata: telefoni, {phones}. Browser, {browsers}.",
    "count_phones": "In questa chiamata: telefoni, {phones}.",
    "alone": "Non c'è nessun altro in questa chiamata.",
    "help_mute": "Per spegnere o accendere il microfono, prema {key}.",
    "help_hand": "Per alzare o abbassare la mano, prema {key}.",
    "help_count": "Per sentire quanti sono in questa chiamata, prema {key}.",
    "help_help": "Per risentire questo messaggio, prema {key}.",
    "ends_soon": "Questa chiamata finirà in meno di un minuto.",
    "star": "asterisco",
    "hash": "cancelletto",
}

TEXTS: Final[Mapping[str, Mapping[Phrase, str]]] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "pt": _PORTUGUESE,
    "it": _ITALIAN,
}
"""All phrases by the first part of a tag."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks to a caller.

    Attributes:
        language: One of `LOCALES`.
        style: One of the platform's voices of that language; 0 is its first.
    """

    language: str = "en-US"
    style: int = 0

    def text(self, phrase: Phrase, **values: int | str) -> str:
        """Return what is said, with the values in their places."""
        return TEXTS[self.language.partition("-")[0]][phrase].format(**values)

    def keys(self, keys: str) -> str:
        """Return how keys are said, such as "star 6"."""
        words = {"*": self.text("star"), "#": self.text("hash")}
        return " ".join(words.get(key, key) for key in keys)


ENGLISH: Final = Speaker()
"""What the platform speaks where it is told nothing."""


def checked_language(tag: str) -> str:
    """Return a language tag as the platform writes it; ``DE-de`` and ``de_DE`` are taken, too.

    Raises:
        SettingsError: There are no words, or no voice, for it.
    """
    wanted = tag.strip().replace("_", "-").lower()
    found = next((known for known in LOCALES if known.lower() == wanted), None)
    if found is None:
        raise SettingsError("Phones cannot be spoken to in that language.", f"Use one of {', '.join(LOCALES)}.")
    return found
