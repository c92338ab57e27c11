"""Certificates for tests of TLS: an authority and what it signs, as PEM files, made by the program `openssl` (3.0 or newer).

Debian has that program wherever it has Java. The keys are not protected: they are good for nothing but servers on 127.0.0.1.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key (PKCS #8), each in a file."""

    certificate_file: Path
    key_file: Path


class Authority:
    """Signs certificates; whoever trusts `ca_file` trusts them. Its files are in `folder`, which must be there."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        (folder / "openssl.cnf").write_text(_CONFIG)
        self._own = self._make(name, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")

    @property
    def ca_file(self) -> Path:
        """Return the file to trust."""
        return self._own.certificate_file

    def issue(self, name: str) -> Certificate:
        """Return a certificate of that common name, for a client or for a server at 127.0.0.1."""
        signed_by = ["-CA", str(self._own.certificate_file), "-CAkey", str(self._own.key_file)]
        return self._make(name, "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1", *signed_by)

    def _make(self, name: str, constraints: str, usage: str, *more: str) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        words = ["openssl", "req", "-x509", "-config", str(self._folder / "openssl.cnf"), "-subj", f"/CN={name}"]
        words += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        words += ["-addext", constraints, "-addext", usage, *more]
        words += ["-out", str(made.certificate_file), "-keyout", str(made.key_file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl made no certificate:\n{done.stderr}")
        return made
