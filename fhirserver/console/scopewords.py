"""Scopes in plain words, for people who decide about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from fhirserver.console.typewords import TYPES

_RESOURCE = re.compile(r"(patient|user|system)/(\*|[A-Za-z]+)\.([a-z*]+)(?:\?(.*))?")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Line:
    """A scope explained. `wide`: it reaches everything, which the page says with emphasis. `of_data`: opens resources."""

    token: str
    title: str
    detail: str
    wide: bool
    of_data: bool


_DEEDS = {
    "pt": {"see": "Ver", "make": "criar", "change": "alterar", "remove": "apagar", "and": "e", "only": "somente onde"},
    "en": {"see": "See", "make": "add", "change": "change", "remove": "delete", "and": "and", "only": "only where"},
}  # fmt: skip
_ALL = {
    ("pt", "patient"): ("todos os dados de saúde da pessoa", "Todos os dados desta pessoa, os de agora e os que vierem depois."),
    ("pt", "user"): ("todos os dados que você pode acessar", "Tudo o que a sua função permite, agora e depois, de todas as pessoas."),
    ("en", "patient"): ("all health data of the person", "All data about this person, what is there now and what comes later."),
    ("en", "user"): ("all data that you can access", "Everything that your role allows in this system, now and later, about everyone."),
}  # fmt: skip
_WHOSE = {
    ("pt", "patient"): "Somente desta pessoa.",
    ("pt", "user"): "Até onde a sua função permite.",
    ("en", "patient"): "Of this person only.",
    ("en", "user"): "As far as your role allows.",
}
_OTHERS = {
    "pt": {
        "openid": ("Saber quem você é", "O aplicativo recebe um número que identifica sua conta, não sua senha."),
        "fhirUser": ("Ver o seu próprio cadastro", "Seu nome e os dados do seu registro neste sistema."),
        "launch": ("Abrir no contexto atual", "O aplicativo sabe qual paciente está aberto no sistema da clínica."),
        "launch/patient": ("Saber qual paciente foi escolhido", "O aplicativo recebe o número do registro da pessoa escolhida."),
        "launch/encounter": ("Saber qual atendimento está aberto", "O aplicativo recebe o número do atendimento."),
        "offline_access": ("Continuar com acesso sem você estar usando", "Por até 90 dias. Você pode retirar o acesso quando quiser."),
        "online_access": ("Manter o acesso enquanto você estiver conectado", "O acesso termina quando você sair."),
    },
    "en": {
        "openid": ("Know who you are", "The app gets a number that identifies your account, not your password."),
        "fhirUser": ("See your own entry", "Your name and the data of your own record in this system."),
        "launch": ("Open in the present context", "The app learns which patient is open in the clinic's system."),
        "launch/patient": ("Know which patient was chosen", "The app gets the record number of the person chosen."),
        "launch/encounter": ("Know which visit is open", "The app gets the number of the visit."),
        "offline_access": ("Keep access while you are not using it", "For up to 90 days. You can withdraw it at any time."),
        "online_access": ("Keep access while you are signed in", "Access ends when you sign out."),
    },
}  # fmt: skip


def explained(scopes: Iterable[str], language: str) -> list[Line]:
    """A line for each scope: data first, the widest on top."""
    lines = [_line(token, language) for token in scopes]
    return sorted(lines, key=lambda line: (not line.of_data, not line.wide))


def _line(token: str, language: str) -> Line:
    found = _RESOURCE.fullmatch(token)
    if found is None:
        title, detail = _OTHERS[language].get(token, (token, ""))
        return Line(token, title, detail, wide=token == "offline_access", of_data=False)  # noqa: S105 a scope
    level, type, letters, constraint = found.groups()
    letters = _V1.get(letters, letters)
    deeds = _deeds(letters, language)
    if type == "*":
        what, detail = _ALL[(language, level if level == "patient" else "user")]
        return Line(token, f"{deeds} {what}", detail, wide=True, of_data=True)
    what = TYPES[language].get(type, type)
    detail = _WHOSE[(language, level if level == "patient" else "user")]
    if constraint:
        detail += f" ({_DEEDS[language]['only']} {unquote(constraint)})"
    return Line(token, f"{deeds} {what}", detail, wide=False, of_data=True)


def _deeds(letters: str, language: str) -> str:
    words = _DEEDS[language]
    rights = (("see", "rs"), ("make", "c"), ("change", "u"), ("remove", "d"))
    found = [words[deed] for deed, needed in rights if set(needed) & set(letters)]
    text = f" {words['and']} ".join((", ".join(found[:-1]), found[-1])) if len(found) > 1 else found[0]
    return text[0].upper() + text[1:]
