"""The example of the README runs as it stands."""

import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_handler.py"


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(EXAMPLE), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_greets_on_the_broker_in_memory() -> None:
    assert run() == "Thank you, Ada\n"


@pytest.mark.servers
def test_it_greets_on_kafka(private_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("orders", 2), NewTopic("greetings", 2)], operation_timeout=30).values():
        future.result()
    assert run(private_kafka.bootstrap) == "Thank you, Ada\n"
