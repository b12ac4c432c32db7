"""`fhirserver package`: adds, lists and removes packages of profiles, extensions, search parameters and terminology."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import CommandFailed, Progress, complain, duration, say
from fhirserver.outcome import OutcomeError
from fhirserver.r4.packages import BUILT_IN, Package, load_package
from fhirserver.store.packages import (
    PackageRecord,
    add_package,
    own_profiles,
    packages,
    remove_package,
)
from fhirserver.validation.profiles import Profiles, is_profile

if TYPE_CHECKING:
    from fhirserver.settings import Settings

PARTLY = 3
_SHOWN = 20
_ANY_VERSION = ("latest", "current", "dev")


def run(options: argparse.Namespace) -> int:
    """Works on the database itself; running servers take up the change within seconds."""
    if options.action != "list" and not options.names:
        raise UsageError(f"fhirserver package {options.action} needs what to {options.action}")
    settings = load_settings(options)
    with database(settings) as reachable:
        if options.action == "add":
            return asyncio.run(add(reachable, [Path(name) for name in options.names]))
        if options.action == "remove":
            return asyncio.run(remove(reachable, options.names))
        return asyncio.run(show(reachable))


async def add(settings: Settings, paths: Sequence[Path]) -> int:
    """Read all packages, then add them in the order of their dependencies."""
    from fhirserver.app import conformance

    progress = Progress("packages read", len(paths))
    read = []
    for path in paths:
        if not path.exists():
            raise CommandFailed(f"{path} does not exist")
        read.append(load_package(path))
        progress.advance(1, work=1)
    progress.close()
    unusable = parameters = 0
    async with conformance(settings) as (base, store):
        known = await packages(store, settings.tenant)
        for package in in_order(read, known):
            clock = Progress("definitions", len(package.resources))
            profiles = await own_profiles(store, settings.tenant)
            unusable += _check(package, Profiles.of((*profiles.resources, *package.resources), elements=base.elements,
                                                    terminology=base.terminology), clock)  # fmt: skip
            record = await add_package(store, settings.tenant, package)
            say(f"added {record.label}: {record.count:,} definitions in {duration(clock.close())}")
            parameters += sum(r["resourceType"] == "SearchParameter" for r in package.resources)
    if parameters:
        say(f"{parameters} search parameters are not ready until `fhirserver reindex` has run")
    return PARTLY if unusable else 0


async def remove(settings: Settings, names: Sequence[str]) -> int:
    """Remove packages by name or name#version."""
    from fhirserver.app import conformance

    async with conformance(settings) as (_, store):
        known = await packages(store, settings.tenant)
        gone = [record for name in names for record in _named(name, known)]
        left = [record for record in known if record not in gone]
        for record in gone:
            users = [other.label for other in left if _provides(record, other.dependencies.get(record.name))
                     and not any(_provides(r, other.dependencies.get(r.name)) for r in left)]  # fmt: skip
            if users:
                raise CommandFailed(f"{record.label} is needed by {', '.join(users)}; remove these first")
        for record in gone:
            await remove_package(store, settings.tenant, record)
            say(f"removed {record.label}")
    return 0


async def show(settings: Settings) -> int:
    """List the packages."""
    from fhirserver.app import conformance

    async with conformance(settings) as (_, store):
        for record in await packages(store, settings.tenant):
            needs = ", ".join(f"{name}#{version}" for name, version in record.dependencies.items())
            say(f"{record.label}  {record.count:,} definitions" + (f"  needs {needs}" if needs else ""))
    return 0


def in_order(read: Iterable[Package], known: Iterable[PackageRecord]) -> list[Package]:
    """The packages, each after those it depends on. Raises CommandFailed naming what is missing."""
    there: list[Package | PackageRecord] = list(known)
    waiting, done = list(read), []
    while waiting:
        ready = [package for package in waiting if not _missing(package, there)]
        if not ready:
            lines = [f"{p.name}#{p.version} needs {', '.join(_missing(p, there))}" for p in waiting]
            raise CommandFailed("; ".join(lines) + "; add what is missing first, or in the same command")
        done += ready
        there += ready
        waiting = [package for package in waiting if package not in ready]
    return done


def _missing(package: Package, there: Iterable[Package | PackageRecord]) -> list[str]:
    present = list(there)
    return [
        f"{name}#{version}"
        for name, version in package.dependencies.items()
        if name not in BUILT_IN and not any(p.name == name and _provides(p, version) for p in present)
    ]


def _provides(package: Package | PackageRecord, version: str | None) -> bool:
    """Whether a package is of the version that is asked for: "3.1.1", "3.1.x", "latest"."""
    if version is None:
        return False
    stem = version.removesuffix("x")
    return version in (package.version, *_ANY_VERSION) or (
        stem != version and package.version.startswith(stem)
    )


def _named(name: str, known: Iterable[PackageRecord]) -> list[PackageRecord]:
    found = [record for record in known if name in (record.name, record.label)]
    if not found:
        raise CommandFailed(f"there is no package {name}; `fhirserver package list` shows those there are")
    return found


def _check(package: Package, profiles: Profiles, progress: Progress) -> int:
    """Compile every profile of the package; how many cannot be used. They are named on stderr."""
    failed: list[str] = []
    for resource in package.resources:
        if is_profile(resource):
            try:
                profiles.overlay(resource["url"])
            except OutcomeError as error:
                failed.append(f"{resource['url']}: {error.issues[0].text}")
        progress.advance(1, work=1)
    for line in failed[:_SHOWN]:
        complain(f"cannot be used: {line}")
    if len(failed) > _SHOWN:
        complain(f"... and {len(failed) - _SHOWN} more")
    return len(failed)
