"""What processes take, read from /proc: CPU seconds and memory by role. Linux only; elsewhere all is zero."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
ROLES = ("main", "worker", "mongod", "other")


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `cpu`: seconds of CPU so far, user and system."""

    pid: int
    parent: int
    name: str
    command: str
    cpu: float


def processes() -> dict[int, Process]:
    """All processes that may be seen, by pid."""
    found: dict[int, Process] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
        cpu = (int(rest[11]) + int(rest[12])) / TICKS
        found[int(folder.name)] = Process(int(folder.name), int(rest[1]), name, command, cpu)
    return found


class Family:
    """The server's processes: the one that was started, its descendants, and a mongod on its data folder."""

    def __init__(self, pid: int, data_dir: str) -> None:
        self.pid, self.data_dir = pid, data_dir

    def members(self) -> dict[str, list[Process]]:
        """The living processes by role."""
        found = processes()
        roles: dict[str, list[Process]] = {role: [] for role in ROLES}
        for process in found.values():
            if self._belongs(process, found):
                roles[self._role(process, found)].append(process)
        if not roles["worker"]:
            roles["worker"], roles["main"] = roles["main"], []
        return roles

    def _belongs(self, process: Process, found: dict[int, Process]) -> bool:
        if process.name.startswith("mongod") and self.data_dir in process.command:
            return True
        at: Process | None = process
        while at is not None:
            if at.pid == self.pid:
                return True
            at = found.get(at.parent)
        return False

    def _role(self, process: Process, found: dict[int, Process]) -> str:
        if process.pid == self.pid:
            return "main"
        if process.name.startswith("mongod"):
            return "mongod"
        main = found.get(self.pid)
        forked = main is not None and process.command == main.command
        return "worker" if forked or "spawn_main" in process.command or "granian" in process.name else "other"

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by role."""
        return {role: sum(p.cpu for p in found) for role, found in self.members().items()}

    def memory(self) -> dict[str, list[dict[str, float]]]:
        """Megabytes of each process by role: resident, and its proportional share where pages are shared."""
        return {role: [memory(p.pid) for p in found] for role, found in self.members().items() if found}


def memory(pid: int) -> dict[str, float]:
    """`rss` and `pss` of a process in MB; empty where it cannot be read."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return {}
    figures = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return {"rss": int(figures["Rss"]) // 1024, "pss": int(figures["Pss"]) // 1024}


def machine() -> dict[str, str | int]:
    """The machine in words that mean something to a reader of the figures."""
    cpu = "unknown"
    memory_kb = 0
    try:
        for line in (PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
        memory_kb = int((PROC / "meminfo").read_text().split()[1])
    except OSError:
        pass
    system = os.uname()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_mb": memory_kb // 1024,
        "system": f"{system.sysname} {system.release} {system.machine}",
    }
