"""From an agent and an interaction to the one Permission under which it runs.

What a token reaches of a type with a letter is an OR over its granting scopes of (rows of the level AND constraint),
AND the rows of the user's role, AND what labels and consents leave. It becomes part of each database query; nothing is
filtered afterwards. Source: docs/explanation/access.md
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fhirserver.access.compartments import BEHIND, KEPT, MEMBER, Compartments
from fhirserver.access.consent import Caller, withheld
from fhirserver.access.hidden import closed_types, masked_types
from fhirserver.access.labels import uncleared
from fhirserver.access.masks import MaskBook
from fhirserver.access.needs import Need, need_of
from fhirserver.access.organizations import rows_of
from fhirserver.access.roles import Role, Roles, Rows
from fhirserver.access.scopes import Scope
from fhirserver.access.situation import Situation, patients_of
from fhirserver.context import Agent, Interaction, Kind, Permission
from fhirserver.outcome import INSUFFICIENT, Forbidden, OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.search.chain import expression
from fhirserver.search.expression import (
    EVERYTHING,
    NOTHING,
    And,
    Equals,
    Expression,
    Ids,
    Not,
    both,
    either,
    hops,
)
from fhirserver.search.guard import Guard
from fhirserver.search.mask import Mask, Masks
from fhirserver.search.scope import Scope as Surroundings
from fhirserver.search.types.reference import Site
from fhirserver.settings import Limits

TREATMENT = "TREAT"
_OPEN = "open mode on this machine, or the server's own work"
_NEVER = frozenset(("u", "d"))  # what nobody does to the audit trail
_SYSTEM_LEVELS = (Kind.SEARCH_SYSTEM, Kind.HISTORY_SYSTEM, Kind.SEARCH_COMPARTMENT)


@dataclass(frozen=True, slots=True)
class Reach:
    """What one letter opens. `restrictions`, `denied`: as in Permission. `closed`: no type at all is open."""

    restrictions: Mapping[str, Expression]
    denied: frozenset[str]
    closed: bool

    def opens(self, type: str | None) -> bool:
        """True where the letter opens `type`; None: any type."""
        return not self.closed if type is None else type not in self.denied


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes Permissions. Pure: what it needs of the database is in the Situation."""

    definitions: Definitions
    roles: Roles
    compartments: Compartments
    site: Site
    limits: Limits
    masks: MaskBook
    by_organization: bool = field(default=False, kw_only=True)
    _constraints: dict[tuple[str, tuple[tuple[str, str], ...]], Expression | None] = field(
        default_factory=dict
    )

    def permission(self, agent: Agent, situation: Situation, interaction: Interaction) -> Permission:
        """What `agent` may do with `interaction`. Raises Forbidden."""
        if agent.scopes is None:
            return Permission(agent, _OPEN)
        need = need_of(interaction)
        type = interaction.type
        identity = self._is_own_identity(agent, interaction)
        key = (need, type, identity)
        made: Permission | None = situation.made.get(key)
        if made is None:
            made = situation.made[key] = self._plan(agent, situation, need, type, identity=identity)
        if interaction.kind in _SYSTEM_LEVELS and type is None:
            self._check_named(interaction, made)
        # who asks is of this request (address, purpose), not of the token
        return made if made.agent is agent else replace(made, agent=agent)

    def _plan(
        self, agent: Agent, situation: Situation, need: Need, type: str | None, *, identity: bool
    ) -> Permission:
        if need.anyone:
            return Permission(agent, "open to every token", denied=frozenset(self.definitions.resource_types))
        for letters in need.alternatives:
            reaches = [self.reach(agent, situation, letter) for letter in letters]
            if all(reach.opens(type) for reach in reaches) or identity:
                return self._permission(agent, situation, need, letters, type, identity=identity)
        raise Forbidden(
            "The token's scopes do not open this interaction on this type.",
            code="scope-insufficient",
            challenge=INSUFFICIENT,
        )

    def _permission(
        self,
        agent: Agent,
        situation: Situation,
        need: Need,
        letters: str,
        type: str | None,
        *,
        identity: bool,
    ) -> Permission:
        main = self.reach(agent, situation, letters[0])
        rest = self.reach(agent, situation, "r" if need.reads else "s")
        restrictions, denied = dict(rest.restrictions), rest.denied
        if type is not None:
            denied = denied - {type}
            restrictions.pop(type, None)
            if (own := main.restrictions.get(type)) is not None:
                restrictions[type] = own
            if identity:
                restrictions |= self._with_identity(agent, type, main)
        criteria = None
        if need.writes:
            found = self.reach(agent, situation, "s")
            criteria = Permission(
                agent,
                "criteria of a write",
                found.restrictions,
                found.denied,
                behind=_BEHIND,
                masks=self._masks(agent, situation),
            )
        permission = Permission(
            agent,
            "scopes, role and consent",
            restrictions,
            denied,
            criteria,
            _BEHIND if BEHIND in restrictions else frozenset(),
            opened=situation.opened,
            masks=self._masks(agent, situation),
        )
        if not need.writes:
            return permission
        return replace(
            permission,
            keeps=self._kept(agent, type, letters[0]),
            keeps_labels=_is_bound(agent),
            shows=self.reach(agent, situation, "r").opens(type),
        )

    def reach(self, agent: Agent, situation: Situation, letter: str) -> Reach:
        """Every type's rows that `letter` opens to the agent."""
        made: Reach | None = situation.made.get(letter)
        if made is None:
            made = situation.made[letter] = self._reach(agent, situation, letter)
        return made

    def _reach(self, agent: Agent, situation: Situation, letter: str) -> Reach:
        scopes = [s for s in agent.scopes.resources if letter in s.letters] if agent.scopes else []
        roles = self.roles.known(agent.roles)
        restrictions: dict[str, Expression] = {}
        denied = set()
        for type in self.definitions.resource_types:
            granting = [scope for scope in scopes if scope.reaches(type)]
            rows = self._rows(agent, situation, granting, roles, type, letter) if granting else None
            if rows is None:
                denied.add(type)
            elif rows != EVERYTHING or (type == BEHIND and _is_bound(agent)):
                restrictions[type] = rows
        return Reach(restrictions, frozenset(denied), len(denied) == len(self.definitions.resource_types))

    def _rows(
        self,
        agent: Agent,
        situation: Situation,
        granting: list[Scope],
        roles: tuple[Role, ...],
        type: str,
        letter: str,
    ) -> Expression | None:
        """What the scopes give of one type: an Expression that every row must match, None where nothing."""
        if type == "AuditEvent" and (letter in _NEVER or (letter == "c" and agent.user is not None)):
            return None
        options = []
        for scope in granting:
            level = self._level(agent, situation, scope.level, roles, type, letter)
            constraint = self._constraint(type, scope.constraint)
            if constraint is not None and scope.constraint:
                constraint = self._unrevealing(agent, situation, type, constraint)
            if level is not None and constraint is not None:
                options.append(both(level, constraint) if constraint != EVERYTHING else level)
        found = _any_of(options)
        if found is None or not _is_bound(agent):
            return found
        if type == "AuditEvent" and found == EVERYTHING:
            return found  # the whole log: neither labels nor consents hide an access from an auditor
        for rule in self._withheld(agent, situation, roles, type):
            found = both(found, rule)
        house = self._of_organizations(agent, situation, type)
        return found if house is None else both(found, house)

    def _level(
        self, agent: Agent, situation: Situation, level: str, roles: tuple[Role, ...], type: str, letter: str
    ) -> Expression | None:
        if level == "system" and agent.user is None:
            bound = _is_bound(agent)
            return self._of_roles(agent, situation, roles, type, letter, None) if bound else EVERYTHING
        if level == "system":
            return None
        if agent.user is None:
            return None
        if level == "user":
            return self._of_roles(agent, situation, roles, type, letter, None)
        return self._of_roles(agent, situation, roles, type, letter, agent.patient)

    def _of_roles(
        self,
        agent: Agent,
        situation: Situation,
        roles: tuple[Role, ...],
        type: str,
        letter: str,
        patient: str | None,
    ) -> Expression | None:
        """The rows of the user's roles; of a patient's app (`patient`) those that are the patient's as well."""
        options = []
        for role in roles:
            for kind, grant in role.by_type.get((letter, type), ()):
                if agent.user is None and kind != "all":
                    continue  # nobody's patients, nobody's own
                rows = self._of_kind(agent, situation, kind, type, letter, patient)
                constraint = self._constraint(type, grant.constraint)
                if rows is not None and constraint is not None:
                    options.append(both(rows, constraint) if constraint != EVERYTHING else rows)
        return _any_of(options)

    def _of_kind(
        self, agent: Agent, situation: Situation, kind: Rows, type: str, letter: str, patient: str | None
    ) -> Expression | None:
        mine = None if patient is None else self.compartments.rows(type, letter, (patient,))
        if patient is not None and mine is None:
            return None
        match kind:
            case "all":
                return EVERYTHING if mine is None else mine
            case "own":
                keys = tuple(self.site.key(*name.split("/")) for name in sorted(situation.own))
                own = Equals("~Practitioner", keys)
                return own if mine is None else both(mine, own)
            case "linked":
                if mine is None:
                    return self._linked(situation, type)
                return mine if patient in situation.linked or patient in situation.opened else NOTHING
            case "patients":
                if mine is None:
                    return self.compartments.rows(type, letter, patients_of(agent))
                return mine if patient in patients_of(agent) else None

    def _linked(self, situation: Situation, type: str) -> Expression | None:
        """The rows of the patients that a practitioner has to do with; their keys are made once."""
        if type not in _APART and self.compartments.is_member(type):
            type = "Observation"  # for every plain type of the compartment the rows are the same
        key = ("linked", type)
        if key not in situation.made:
            known = situation.linked | situation.opened.keys()
            situation.made[key] = self.compartments.linked(type, known)
        found: Expression | None = situation.made[key]
        return found

    def _of_organizations(self, agent: Agent, situation: Situation, type: str) -> Expression | None:
        """The rows of the user's organizations, where the setting asks for it; None: no condition."""
        if not self.by_organization or agent.user is None or patients_of(agent):
            return None
        keys = tuple(self.site.key(*name.split("/")) for name in sorted(situation.organizations))
        opened = self.compartments.linked(type, situation.opened) if situation.opened else None
        return rows_of(type, keys, opened)

    def _withheld(
        self, agent: Agent, situation: Situation, roles: tuple[Role, ...], type: str
    ) -> Iterable[Expression]:
        """What labels and consents keep from a user, as conditions that hold for the rest."""
        if type in _WHOLE:
            return
        labels = uncleared(roles)
        if labels:
            yield Not(Equals("_security", labels))
        if patients_of(agent) or not situation.policies or not self.compartments.is_member(type):
            return
        caller = Caller(situation.names, agent.purpose or TREATMENT, situation.now)
        opened = frozenset(situation.opened)
        refused = withheld(situation.policies, type, caller, self.definitions, opened)
        for condition, patients in refused.items():
            ids = tuple(sorted(patients))
            keys = tuple(self.site.key("Patient", id) for id in ids)
            member: Expression = Ids(ids) if type == "Patient" else Equals(MEMBER, keys)
            yield Not(both(member, condition) if condition != EVERYTHING else member)

    def _constraint(self, type: str, pairs: tuple[tuple[str, str], ...]) -> Expression | None:
        """The rows that a scope's constraint leaves; None where it cannot be evaluated: then the scope grants nothing."""
        if not pairs:
            return EVERYTHING
        key = (type, pairs)
        if key not in self._constraints:
            self._constraints[key] = self._read_constraint(type, pairs)
        return self._constraints[key]

    def _read_constraint(self, type: str, pairs: tuple[tuple[str, str], ...]) -> Expression | None:
        surroundings = Surroundings(self.definitions, self.limits, self.site, time.time_ns() // 1000)
        found: Expression = EVERYTHING
        try:
            for code, value in pairs:
                found = both(found, expression(surroundings, type, code, value))
        except OutcomeError:
            return None
        return None if any(hops(found)) or (isinstance(found, And) and not found.items) else found

    def _unrevealing(
        self, agent: Agent, situation: Situation, type: str, constraint: Expression
    ) -> Expression | None:
        """A scope's constraint such that it tells nothing of what is hidden; None where it would."""
        try:
            return Guard(self._masked(agent, situation)).guarded(type, constraint)
        except Forbidden:
            return None

    def _masked(self, agent: Agent, situation: Situation) -> Mapping[str, Mask]:
        key = "masked"
        if key not in situation.made:
            roles = self.roles.known(agent.roles)
            situation.made[key] = masked_types(agent, situation, roles, self.masks, self.compartments)
        found: Mapping[str, Mask] = situation.made[key]
        return found

    def _masks(self, agent: Agent, situation: Situation) -> Masks | None:
        """What of single resources is hidden from the agent; None: nothing."""
        key = "masks"
        if key not in situation.made:
            of = self._masked(agent, situation)
            roles = self.roles.known(agent.roles) if of else ()
            closed = closed_types(agent, roles, self.definitions.resource_types)
            situation.made[key] = Masks(of, closed, self.masks.nothing) if of or closed else None
        found: Masks | None = situation.made[key]
        return found

    def _kept(self, agent: Agent, type: str | None, letter: str) -> frozenset[str]:
        """The elements of a Patient that stay as they are when the patient, or an app for the patient, writes."""
        if type != "Patient" or agent.scopes is None:
            return frozenset()
        as_staff = any(
            scope.level != "patient" and letter in scope.letters and scope.reaches(type)
            for scope in agent.scopes.resources
        )
        return frozenset() if as_staff and not patients_of(agent) else KEPT

    @staticmethod
    def _is_own_identity(agent: Agent, interaction: Interaction) -> bool:
        """True for the read of the user's own resource, which the scope fhirUser opens."""
        return (
            interaction.kind is Kind.READ
            and agent.fhir_user is not None
            and agent.scopes is not None
            and "fhirUser" in agent.scopes
            and agent.fhir_user == f"{interaction.type}/{interaction.id}"
        )

    @staticmethod
    def _with_identity(agent: Agent, type: str, main: Reach) -> dict[str, Expression]:
        """The restriction on `type` where the user's own resource is open beside what the scopes open."""
        own = Ids(((agent.fhir_user or "").partition("/")[2],))
        if type in main.denied:
            return {type: own}
        return {type: either((main.restrictions[type], own))} if type in main.restrictions else {}

    @staticmethod
    def _check_named(interaction: Interaction, permission: Permission) -> None:
        named = {
            part.strip() for name, value in interaction.query if name == "_type" for part in value.split(",")
        }
        if named & permission.denied:
            raise Forbidden(
                "_type names a type that the token's scopes do not open for this.",
                code="scope-insufficient",
                challenge=INSUFFICIENT,
            )


_BEHIND = frozenset((BEHIND,))
_READ = frozenset("rs")
_OPEN_INSIDE = frozenset(
    ("AuditEvent", "OperationOutcome", "Parameters")
)  # no one's data, or read by name only
_WHOLE = frozenset(("AuditEvent", "Provenance"))  # who may see the trail sees all of it
_APART = frozenset(("Patient", "Schedule", "Device", "Group", "Person", BEHIND))


def _is_bound(agent: Agent) -> bool:
    """True where a role, labels and consents bind: for every user, and for backend services that have a policy."""
    return agent.user is not None or bool(agent.roles)


def _any_of(options: list[Expression]) -> Expression | None:
    if not options:
        return None
    if len(options) == 1:
        return options[0]
    if any(option == EVERYTHING for option in options):
        return EVERYTHING
    return either(tuple(dict.fromkeys(options)))
