"""Where things are: the checkout, the cache of downloads, the folder of what runs. Everything in devkit asks here."""

import os
import random
import socket
from pathlib import Path

_PORTS = random.SystemRandom()
_CLAIMS: list[socket.socket] = []


def root() -> Path:
    """Return the checkout's root; devkit is installed from it, never from a wheel."""
    return Path(__file__).resolve().parents[4]


def cache_dir() -> Path:
    """Return the folder for downloads, made if missing: `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "millrace"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_dir() -> Path:
    """Return the folder for logs, data and pids of what `make up` runs, made if missing: `$MILLRACE_RUN_DIR`, else `.millrace`."""
    folder = Path(os.environ.get("MILLRACE_RUN_DIR") or root() / ".millrace")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no other call gets, in any process, before this process ends.

    Between the answer and the server's start lie seconds, and a server that is restarted leaves its port for a moment. The port lies
    below the ephemeral range: a client that keeps knocking at a stopped server's port could otherwise be given that very port as its
    own, connect to itself, and keep the server from coming back.
    """
    for _ in range(1000):
        port = _PORTS.randrange(20_000, 32_000)
        if _claim(port) and is_free(port):
            return port
    raise OSError("no free port between 20000 and 32000")


def _claim(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0millrace-port-{port}")  # a name without a file: it goes with the process, however that ends
    except OSError:
        claim.close()
        return False
    _CLAIMS.append(claim)
    return True


def is_free(port: int) -> bool:
    """Tell whether a server could bind this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
