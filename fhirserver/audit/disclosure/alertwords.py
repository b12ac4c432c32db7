"""What alerts say, in Portuguese and English: a rule, and the figures that an alert of it was recorded with.

The log holds rule and figures only; sentences are made when somebody reads them. A figure named `fault` chooses between
the sentences of one rule. Pure. Source: docs/reference/audit-events.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LANGUAGES = ("pt-BR", "en")
PREFIX = "alert-"
FAULT = "fault"

TITLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "mass-access": ("Muitos pacientes em uma hora", "Many patients within an hour"),
        "unusual-access": ("Muito mais pacientes que o habitual", "Many more patients than usual"),
        "denials": ("Muitas recusas", "Many refusals"),
        "break-glass": ("Acesso de emergência", "Emergency access"),
        "unreviewed": ("Emergência sem revisão", "Emergency access not reviewed"),
        "vip": ("Paciente sob sigilo", "Protected patient"),
        "own-record": ("O próprio prontuário", "Own record"),
        "same-address": ("Prontuário do mesmo endereço", "Record of the same address"),
        "export-volume": ("Exportação grande", "Large export"),
        "enumeration": ("Varredura de identificadores", "Identifiers tried one by one"),
        "clock-offset": ("Relógio fora da hora", "Clock is off"),
        "token-reuse": ("Token de renovação usado de novo", "Refresh token used again"),
        "recording": ("Registro interrompido", "Recording interrupted"),
        "integrity": ("Integridade do registro", "Integrity of the log"),
        "sealing-stopped": ("Selagem parada", "Sealing stopped"),
        "sealing-stalled": ("Selagem atrasada", "Sealing stalled"),
        "syslog-feed": ("Envio por syslog parado", "Syslog feed stopped"),
        "atna-feed": ("Envio ao repositório ATNA parado", "Feed to the ATNA repository stopped"),
        "webhook": ("Aviso de alertas parado", "Webhook of alerts stopped"),
        "anchor": ("Cópia externa não feita", "Copy elsewhere not made"),
    }
)
_TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "mass-access": (
            "{patients} pacientes em uma hora; o limite é {most}.",
            "{patients} patients within an hour; the limit is {most}.",
        ),
        "unusual-access": (
            "{patients} pacientes em uma hora. Em 95% das horas dos últimos 30 dias foram até {usual}; o limite é {times} "
            "vezes isso.",
            "{patients} patients within an hour. In 95% of the hours of the last 30 days it was at most {usual}; the limit "
            "is {times} times that.",
        ),
        "denials": (
            "{refusals} recusas em cinco minutos; o limite é {most}.",
            "{refusals} refusals within five minutes; the limit is {most}.",
        ),
        "break-glass": (
            "Um acesso de emergência foi iniciado. Outra pessoa deve revê-lo em até {hours} horas.",
            "An emergency access was begun. Somebody else must review it within {hours} hours.",
        ),
        "unreviewed": (
            "Ninguém reviu o acesso de emergência em {hours} horas.",
            "Nobody has reviewed the emergency access within {hours} hours.",
        ),
        "vip": (
            "Dados de um paciente sob sigilo foram acessados por alguém de fora da sua equipe de cuidado.",
            "A protected patient's data was accessed by somebody outside of the care team.",
        ),
        "own-record": (
            "A pessoa acessou o seu próprio prontuário com a conta de trabalho.",
            "The person accessed their own record with the account they work with.",
        ),
        "same-address": (
            "A pessoa acessou o prontuário de alguém que mora no mesmo endereço que ela.",
            "The person accessed the record of somebody who lives at the same address.",
        ),
        "export-volume": (
            "{patients} pacientes exportados em 24 horas; o limite é {most}.",
            "{patients} patients exported within 24 hours; the limit is {most}.",
        ),
        "enumeration": (
            "{most} identificadores diferentes foram procurados sem resultado em cinco minutos; as buscas seguintes foram "
            "recusadas.",
            "{most} different identifiers were searched for in vain within five minutes; the searches after were refused.",
        ),
        "clock-offset": (
            "O relógio deste servidor difere {seconds} s do de {source}; o limite é {most} s.",
            "This server's clock is {seconds} s off that of {source}; the limit is {most} s.",
        ),
        "token-reuse": (
            "Um token de renovação já usado foi apresentado outra vez; o acesso do aplicativo foi encerrado.",
            "A refresh token was presented a second time; the app's access was ended.",
        ),
        "recording.refused": (
            "Por {seconds} s não foi possível registrar acessos; nesse tempo os pedidos foram recusados.",
            "For {seconds} s accesses could not be recorded; requests were refused meanwhile.",
        ),
        "recording.spooled": (
            "Enquanto o registro falhava, {events} eventos ficaram só em arquivo local; já foram transferidos.",
            "While recording failed, {events} events were kept in a local file only; they were brought over.",
        ),
        "integrity.unverifiable": (
            "O registro não pode ser conferido ({detail}).", "the ledger cannot be verified: {detail}",
        ),
        "integrity.found": (
            "A conferência do registro encontrou: {findings}.", "verification of the audit log found: {findings}",
        ),
        "integrity.missing": (
            "Processo {writer}: falta um evento na sequência {sequence}; o restante não foi selado.",
            "writer {writer}: an event is missing at sequence {sequence}; left unsealed",
        ),
        "integrity.reordered": (
            "Processo {writer}: um evento não segue o anterior na sequência {sequence}; o restante não foi selado.",
            "writer {writer}: an event does not follow the one before it at sequence {sequence}; left unsealed",
        ),
        "integrity.modified": (
            "Processo {writer}: um evento foi alterado na sequência {sequence}; o restante não foi selado.",
            "writer {writer}: an event was modified at sequence {sequence}; left unsealed",
        ),
        "integrity.foreign": (
            "Processo {writer}: um evento não foi registrado por este servidor na sequência {sequence}; o restante não foi "
            "selado.",
            "writer {writer}: an event was not recorded by this server at sequence {sequence}; left unsealed",
        ),
        "integrity.id-taken": (
            "O número do evento {event} está ocupado por outro evento.", "the id of event {event} is taken by another",
        ),
        "sealing-stalled": (
            "Há {minutes} minutos nada é selado: o banco de dados não responde ({detail}).",
            "Nothing was sealed for {minutes} minutes: the database does not answer ({detail}).",
        ),
        "sealing-stopped.state-unreadable": (
            "O arquivo de estado {file} não pode ser lido; restaure-o de uma cópia.",
            "the state file {file} cannot be read; restore it from a backup",
        ),
        "sealing-stopped.not-root": (
            "O último ponto de controle não é a raiz dos eventos guardados.",
            "the newest checkpoint is not the root of the stored events",
        ),
        "sealing-stopped.set-back": (
            "O banco de dados voltou atrás: termina no tamanho {size}, mas o tamanho {sealed} já foi selado aqui.",
            "the database was set back: it ends at size {size}, but size {sealed} was sealed here before",
        ),
        "sealing-stopped.replaced": (
            "Os eventos até o tamanho {size} não são os que foram selados aqui.",
            "the events up to size {size} are not those that were sealed here",
        ),
        "sealing-stopped.changed": (
            "Eventos que estavam para ser selados (até o tamanho {size}) foram alterados.",
            "events that were about to be sealed (up to size {size}) have changed",
        ),
        "sealing-stopped.note-damaged": (
            "O último ponto de controle está danificado.", "the newest checkpoint is damaged",
        ),
        "sealing-stopped.note-unsigned": (
            "O último ponto de controle não está assinado por uma chave deste servidor (keys.txt) para a origem "
            "configurada.",
            "the newest checkpoint is not signed by a key of this server (keys.txt) for the origin of its settings",
        ),
        "sealing-stopped.unusable": (
            "O registro ou as chaves não podem ser usados ({detail}).", "{detail}",
        ),
        "syslog-feed": (
            "O destino do syslog não está sendo atendido ({error}).", "the syslog receiver is not served: {error}",
        ),
        "atna-feed": (
            "O repositório ATNA não está sendo atendido ({error}).", "the atna receiver is not served: {error}",
        ),
        "webhook": (
            "O destino dos avisos não aceita alertas há {attempts} tentativas; continua-se tentando.",
            "The webhook of alerts has taken nothing in {attempts} attempts; they go on.",
        ),
        "anchor": (
            "Um ponto de controle não pôde ser guardado fora do sistema ({error}).",
            "a checkpoint could not be kept elsewhere: {error}",
        ),
    }
)  # fmt: skip


def title(rule: str, language: str) -> str:
    """What a rule is called; the rule's code where it is not one of ours."""
    words = TITLES.get(rule.removeprefix(PREFIX))
    return words[LANGUAGES.index(language)] if words is not None else rule


def told(rule: str, figures: Mapping[str, str], language: str, otherwise: str = "") -> str:
    """What happened. `otherwise`: for an alert without the figures of its rule, such as one of another system."""
    fault = figures.get(FAULT, "")
    words = _TEXTS.get(f"{rule}.{fault}" if fault else rule)
    if words is None:
        return otherwise
    try:
        return words[LANGUAGES.index(language)].format_map(figures)
    except KeyError:
        return otherwise


def sentences() -> Mapping[str, tuple[str, str]]:
    """The sentences by rule, or rule.fault, with the names of their figures in braces."""
    return _TEXTS
