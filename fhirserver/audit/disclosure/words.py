"""The words of the reports, in Portuguese and English: column titles, report titles, codes in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.audit.disclosure import alertwords
from fhirserver.audit.disclosure.alertwords import LANGUAGES

_TITLES: Mapping[str, tuple[str, str]] = {
    "access": ("Acessos aos dados do paciente", "Accesses to the patient's data"),
    "access-report": ("Quem acessou os meus dados", "Who has seen my data"),
    "disclosures": ("Compartilhamentos com terceiros", "Disclosures to others"),
    "user-activity": ("Atividade por usuário", "Activity by user"),
    "denied": ("Acessos negados", "Denied accesses"),
    "after-hours": ("Acessos fora do horário", "Accesses after hours"),
    "vip": ("Acessos a pacientes sob sigilo", "Accesses to protected patients"),
    "break-glass": ("Acessos de emergência", "Emergency accesses"),
    "volume": ("Volume por dia", "Volume by day"),
    "export-volume": ("Volume exportado", "Export volume"),
    "mass-access": ("Acessos em massa", "Mass accesses"),
    "dormant": ("Usuários sem atividade", "Dormant users"),
    "searched-for": ("Quem procurou por um valor", "Who searched for a value"),
    "integrity": ("Integridade do registro", "Integrity of the log"),
    "incident": ("Relatório de incidente", "Incident report"),
    "alerts": ("Alertas", "Alerts"),
}
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "when": ("Data e hora", "Date and time"),
    "utc": ("Data e hora (UTC)", "Date and time (UTC)"),
    "who": ("Pessoa", "Person"),
    "role": ("Função", "Role"),
    "organization": ("Organização", "Organization"),
    "app": ("Aplicativo", "Application"),
    "patient": ("Paciente", "Patient"),
    "action": ("Ação", "Action"),
    "data": ("Tipos de dados", "Kinds of data"),
    "purpose": ("Finalidade", "Purpose"),
    "outcome": ("Resultado", "Outcome"),
    "emergency": ("Emergência", "Emergency"),
    "shared": ("Compartilhado com", "Shared with"),
    "contact": ("Contato", "Contact"),
    "address": ("Endereço", "Address"),
    "reason": ("Motivo", "Reason"),
    "request": ("Requisição", "Request"),
    "event": ("Evento", "Event"),
    "grant": ("Autorização", "Grant"),
    "review": ("Revisão", "Review"),
    "exempt": ("Dispensado de registro", "Exempt from accounting"),
    "events": ("Eventos", "Events"),
    "patients": ("Pacientes", "Patients"),
    "denials": ("Negados", "Denied"),
    "records": ("Registros", "Records"),
    "reads": ("Leituras", "Reads"),
    "writes": ("Gravações", "Writes"),
    "first": ("Primeiro acesso", "First access"),
    "last": ("Último acesso", "Last access"),
    "hour": ("Hora", "Hour"),
    "day": ("Dia", "Day"),
    "item": ("Item", "Item"),
    "value": ("Valor", "Value"),
    "alert": ("Alerta", "Alert"),
    "told": ("O que houve", "What happened"),
    "subject": ("Sobre quem", "About whom"),
    "acknowledged": ("Ciência de", "Acknowledged by"),
}
_CODES: Mapping[str, tuple[str, str]] = {
    "read": ("Leitura", "Read"),
    "vread": ("Leitura de versão", "Read of a version"),
    "search": ("Busca", "Search"),
    "search-type": ("Busca", "Search"),
    "search-system": ("Busca", "Search"),
    "search-compartment": ("Busca", "Search"),
    "history-instance": ("Histórico", "History"),
    "history-type": ("Histórico", "History"),
    "history-system": ("Histórico", "History"),
    "create": ("Inclusão", "Create"),
    "update": ("Alteração", "Update"),
    "patch": ("Alteração", "Update"),
    "delete": ("Exclusão", "Delete"),
    "operation": ("Operação", "Operation"),
    "disclose": ("Compartilhamento", "Disclosure"),
    "batch": ("Lote", "Batch"),
    "transaction": ("Transação", "Transaction"),
    "110120": ("Início do sistema", "System start"),
    "110121": ("Fim do sistema", "System stop"),
    "110122": ("Entrada no sistema", "Login"),
    "110123": ("Saída do sistema", "Logout"),
    "110126": ("Falha de autenticação", "Authentication failure"),
    "110127": ("Início de acesso de emergência", "Emergency access began"),
    "110138": ("Fim de acesso de emergência", "Emergency access ended"),
    "110101": ("Consulta ao registro de auditoria", "Audit log used"),
    "110106": ("Exportação", "Export"),
    "TREAT": ("Tratamento", "Treatment"),
    "HPAYMT": ("Pagamento", "Payment"),
    "HOPERAT": ("Administração", "Operations"),
    "PATRQT": ("Pedido do paciente", "Patient request"),
    "HRESCH": ("Pesquisa", "Research"),
    "BTG": ("Emergência", "Emergency"),
    "ETREAT": ("Emergência", "Emergency"),
    "0": ("Concedido", "Granted"),
    "4": ("Recusado ou falhou", "Refused or failed"),
    "8": ("Falhou", "Failed"),
    "12": ("Falha grave", "Serious failure"),
    "denied": ("Negado", "Denied"),
    "denied-authn": ("Não identificado", "Not authenticated"),
    "denied-scope": ("Sem permissão do aplicativo", "Not permitted to the application"),
    "denied-compartment": ("Outro paciente", "Another patient"),
    "denied-consent": ("Sem consentimento", "No consent"),
    "denied-label": ("Sob sigilo", "Confidential"),
    "denied-throttled": ("Pedidos demais", "Too many requests"),
    "yes": ("sim", "yes"),
    "no": ("não", "no"),
    "pending": ("pendente", "pending"),
    "reviewed": ("revisado", "reviewed"),
    "overdue": ("atrasada", "overdue"),
    "patients": ("pacientes e responsáveis", "patients and their representatives"),
    "self": ("o próprio paciente", "the patient"),
    "patient": ("paciente", "patient"),
    "auditor": ("auditoria", "auditor"),
    "custodian": ("custódia do registro", "custodian"),
    "manager": ("gestão", "manager"),
    "billing": ("faturamento", "billing"),
    "admin": ("administração do sistema", "administrator"),
    "PUBHLTH": ("Saúde pública", "Public health"),
    "COC": ("Coordenação do cuidado", "Coordination of care"),
    "practitioner": ("profissional de saúde", "practitioner"),
    "reception": ("recepção", "reception"),
    "Patient": ("Cadastro", "Personal data"),
    "RelatedPerson": ("Familiares e responsáveis", "Relatives"),
    "ServiceRequest": ("Pedidos e encaminhamentos", "Orders"),
    "CarePlan": ("Planos de cuidado", "Care plans"),
    "CareTeam": ("Equipe de cuidado", "Care team"),
    "QuestionnaireResponse": ("Questionários", "Questionnaires"),
    "Task": ("Tarefas", "Tasks"),
    "Provenance": ("Origem dos dados", "Origin of data"),
    "Practitioner": ("Profissionais", "Practitioners"),
    "PractitionerRole": ("Profissionais", "Practitioners"),
    "Organization": ("Organizações", "Organizations"),
    "Slot": ("Horários", "Slots"),
    "Schedule": ("Agendas", "Schedules"),
    "Observation": ("Exames e sinais vitais", "Observations"),
    "Condition": ("Diagnósticos", "Diagnoses"),
    "Encounter": ("Atendimentos", "Encounters"),
    "Appointment": ("Agendamentos", "Appointments"),
    "MedicationRequest": ("Prescrições", "Prescriptions"),
    "AllergyIntolerance": ("Alergias", "Allergies"),
    "DocumentReference": ("Documentos", "Documents"),
    "Composition": ("Documentos clínicos", "Clinical documents"),
    "DiagnosticReport": ("Laudos", "Reports"),
    "Procedure": ("Procedimentos", "Procedures"),
    "Immunization": ("Vacinas", "Immunizations"),
    "Claim": ("Guias e cobranças", "Claims"),
    "ClaimResponse": ("Respostas do convênio", "Claim responses"),
    "Coverage": ("Convênio", "Insurance"),
    "Invoice": ("Faturas", "Invoices"),
    "Account": ("Contas", "Accounts"),
    "Consent": ("Consentimentos", "Consents"),
    "Communication": ("Mensagens", "Messages"),
    "AuditEvent": ("Registro de acessos", "Access log"),
}
_TEXTS: Mapping[str, tuple[str, str]] = {
    "period": ("Período", "Period"),
    "made": ("Emitido em", "Made on"),
    "rows": ("Linhas", "Rows"),
    "timezone": ("Fuso horário", "Timezone"),
    "nothing": ("Nenhum registro no período.", "Nothing in this period."),
    "to": ("até", "to"),
}


def title(kind: str, language: str) -> str:
    """The title of a report."""
    return _of(_TITLES, kind, language)


def column(name: str, language: str) -> str:
    """The title of a column."""
    return _of(_COLUMNS, name, language)


def code(value: str, language: str) -> str:
    """A code in plain words; itself where there are none for it."""
    if value.startswith(alertwords.PREFIX):
        return alertwords.title(value, language)
    return _of(_CODES, value, language)


def text(name: str, language: str) -> str:
    """A word of the page around a report."""
    return _of(_TEXTS, name, language)


def _of(table: Mapping[str, tuple[str, str]], name: str, language: str) -> str:
    words = table.get(name)
    return words[LANGUAGES.index(language)] if words is not None else name
