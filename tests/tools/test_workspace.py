"""Ports are handed out once, however many processes of the tests ask at a time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from devkit import workspace

ASK = (
    "import sys; from devkit.workspace import free_port; print(*(free_port() for _ in range(400)), flush=True); sys.stdin.read()"
)


def test_a_port_is_given_to_nobody_else_while_its_first_owner_lives() -> None:
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    with ThreadPoolExecutor(len(asking)) as pool:
        answers = list(pool.map(lambda one: one.stdout.readline() if one.stdout else "", asking))
        for one in asking:
            one.communicate()
    ports = [int(port) for answer in answers for port in answer.split()]
    assert len(ports) == 800
    assert len(set(ports)) == len(ports)


def test_a_port_may_be_given_again_when_its_owner_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = [sys.executable, "-c", "from devkit.workspace import free_port; print(free_port())"]
    port = int(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)
    monkeypatch.setattr(workspace, "_PORTS", Mock(randrange=Mock(return_value=port)))
    assert workspace.free_port() == port
    with pytest.raises(OSError, match="no free port"):
        workspace.free_port()
