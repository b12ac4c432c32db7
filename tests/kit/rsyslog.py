"""A real syslog receiver for tests: rsyslogd over TLS with mutual certificates. Debian: rsyslog, rsyslog-gnutls."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.kit.server import free_port

_PROGRAM = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
_DRIVER = (
    "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so",
    "/usr/lib/aarch64-linux-gnu/rsyslog/lmnsd_gtls.so",
)


def need_rsyslog() -> None:
    """Skips the calling test where rsyslog with TLS is missing; with CI or FHIRSERVER_CI set that is a failure."""
    if Path(_PROGRAM).exists() and any(Path(driver).exists() for driver in _DRIVER):
        return
    reason = "rsyslog and rsyslog-gnutls are needed: apt-get install rsyslog rsyslog-gnutls"
    if os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Certificates:
    """A certificate authority in a folder, and certificates for `server` and `client` for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test authority {folder.name}")])
        authority = self._build(self._name, self._key.public_key(), ca=True)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        for name in ("server", "client"):
            self._make(name)

    def cert(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def _make(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._build(subject, key.public_key(), ca=False)
        self.cert(name).write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.key(name).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )


class Rsyslog:
    """rsyslogd on a port of loopback; what it takes stands in a file, one message a line."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, free_port()
        self.file = folder / "messages"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "rsyslog.conf").write_text(
            f"""
global(workDirectory="{folder}" maxMessageSize="64k" net.enableDNS="off" localHostname="test" defaultNetstreamDriver="gtls"
       defaultNetstreamDriverCAFile="{certificates.ca}" defaultNetstreamDriverCertFile="{certificates.cert("server")}"
       defaultNetstreamDriverKeyFile="{certificates.key("server")}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="all" type="string" string="%pri%|%timestamp:::date-rfc3339%|%app-name%|%msgid%|%msg%\\n")
action(type="omfile" file="{self.file}" template="all" asyncWriting="off" flushOnTXEnd="on")
input(type="imtcp" port="{self.port}" address="127.0.0.1")
"""
        )

    def start(self) -> None:
        command = [_PROGRAM, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"rsyslogd did not start: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def messages(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []
