"""The folder of the embedded MongoDB: who may use it, where its socket is, what was left behind."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import select
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from fhirserver.store.client import CannotStart

# At most 100 bytes: Linux allows 107. Plain letters only: the driver takes member names of a replica set for host
# names, which it writes in lower case and splits at a colon, and so would never find /home/Ana/data/mongo.sock.
_SOCKET_PATH = re.compile(rb"[a-z0-9/._-]{1,100}")
_ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  - the folder made there is private
_LARGEST_LOG = 16 * 2**20
_LOOKS, _LOOK_SECONDS = 10, 0.03
_NO_PROGRAM = (
    "No mongod program was found. Install the extra (pip install 'fhirserver[embedded]', x86-64 Linux), or "
    "install MongoDB 6.0 or newer so that mongod is on PATH, or name the program with FHIRSERVER_MONGOD, or "
    "use a replica set of your own with FHIRSERVER_MONGODB_URI."
)


def find_program(given: Path | None = None) -> Path:
    """The mongod program: `given`, else on PATH, else the one of the wheel. Raises CannotStart."""
    if given is not None:
        found = shutil.which(given.expanduser())
        if found is None:
            raise CannotStart(f"FHIRSERVER_MONGOD names {given}, which is no program that can be run.")
        return Path(found)
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    spec = importlib.util.find_spec("fiftyone")  # looks the folder up, imports nothing
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "db" / "bin" / "mongod"
        if os.access(program, os.X_OK):
            return program
    raise CannotStart(_NO_PROGRAM)


def running_socket(data_dir: Path) -> Path | None:
    """The socket of the mongod that a running server has on `data_dir`, None where no server runs there."""
    home = Home(data_dir)
    try:
        lock = os.open(home.folder / "server.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return home.socket()
    finally:
        os.close(lock)
    return None


def running_address(data_dir: Path) -> tuple[str, str] | None:
    """Where the server that runs on the data folder answers, and its public URL; None where none runs, or not yet."""
    if running_socket(data_dir) is None:
        return None
    try:
        here, public = Home(data_dir).address.read_text().split()
    except (OSError, ValueError):
        return None
    return here, public


class Home:
    """`<data_dir>/mongo`, readable by its owner alone, used by one server at a time."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.expanduser().absolute() / "mongo"
        self.database = self.folder / "db"
        self.log = self.folder / "mongod.log"
        self.output = self.folder / "mongod.out"
        self.address = self.folder / "server.address"
        self._pid_file = self.folder / "mongod.pid"
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder and take it. Raises CannotStart where another has it, or it is read-only."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            self.database.mkdir(exist_ok=True, mode=0o700)
            lock = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotStart(f"The data folder {self.folder} cannot be used: {error.strerror}.") from error
        try:
            _lock(lock)
        except BlockingIOError as error:
            owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise CannotStart(
                f"Another server (process {owner}) uses the data folder {self.folder.parent}. Stop it, or "
                "give this one another folder with --data-dir; several workers of one server share it by "
                "--workers."
            ) from error
        self.address.unlink(missing_ok=True)  # of the server before
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        os.register_at_fork(after_in_child=self._forget)  # a forked worker must not outlive the lock's owner

    def tell(self, here: str, public: str) -> None:
        """Note where the server that has the folder answers, and its public URL, for commands beside it."""
        self.address.write_text(f"{here}\n{public}\n")

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._forget()

    def _forget(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def socket(self) -> Path:
        """Where mongod listens: in the folder, or in a private one elsewhere where its path cannot be a socket's."""
        socket = self.folder / "mongo.sock"
        if _fits(socket):
            return socket
        note = self.folder / "socket"
        if note.exists() and _is_private(known := Path(note.read_text().strip()).parent):
            return known / "mongo.sock"
        for base in (tempfile.gettempdir(), *_ELSEWHERE):
            if _fits(Path(base, "fhir-12345678", socket.name)) and os.access(base, os.W_OK):
                socket = Path(tempfile.mkdtemp(prefix="fhir-", dir=base)) / socket.name
                note.write_text(f"{socket}\n")
                return socket
        raise CannotStart(
            "mongod's socket finds no place: give a --data-dir (or TMPDIR) of at most 80 characters, "
            "lower-case letters, digits, '.', '_' and '-' only."
        )

    def remember(self, pid: int) -> None:
        """Write down which process is our mongod."""
        self._pid_file.write_text(f"{pid}\n")

    def forget(self) -> None:
        """There is no mongod of ours any more."""
        self._pid_file.unlink(missing_ok=True)

    def end_orphan(self, patience: float = 15.0) -> bool:
        """End the mongod that a killed server left on this folder; True where there was one.

        Call only with the folder taken: then no living server owns it.
        """
        try:
            pid = int(self._pid_file.read_text())
            process = os.pidfd_open(pid)
        except (OSError, ValueError):
            return False
        try:
            if not self._is_ours(pid):
                return False
            for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
                signal.pidfd_send_signal(process, sign)
                if select.select([process], [], [], seconds)[0]:
                    break
        except ProcessLookupError:
            pass
        finally:
            os.close(process)
        self.forget()
        return True

    def rotate_log(self) -> bool:
        """Put a log that grew too large aside (one is kept); True if so: mongod must open it anew."""
        if not self.log.exists() or self.log.stat().st_size < _LARGEST_LOG:
            return False
        self.log.replace(self.log.with_suffix(".log.1"))
        return True

    def _is_ours(self, pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.database) in command


def _lock(file: int) -> None:
    """Take the lock; who only looks whether a server runs (running_socket) holds it for a moment."""
    for _ in range(_LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOOK_SECONDS)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _fits(socket: Path) -> bool:
    return _SOCKET_PATH.fullmatch(os.fsencode(socket)) is not None


def _is_private(folder: Path) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    return folder.is_dir() and status.st_uid == os.getuid() and status.st_mode & 0o077 == 0
