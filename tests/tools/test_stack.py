"""A stack starts, kills, restarts and stops processes; the services here are stand-ins that only know gRPC health."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from devkit.kafka_access import given_kafka
from devkit.processes import ChildDied
from devkit.services import SERVICES, Instance, is_serving
from devkit.stack import Stack, StackSettings
from millrace.kafka import KafkaConfig
from shopkit.topics import TOPICS

STAND_IN = """
import os, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

if os.environ.get("BROKEN"):
    sys.exit("no such setting: BROKEN")
print(os.environ["MILLRACE_STORE_URL"], os.environ["MILLRACE_INSTANCE"], os.environ["MILLRACE_KAFKA_BOOTSTRAP"])
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
server = grpc.server(ThreadPoolExecutor(2))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(os.environ["MILLRACE_GRPC_ADDRESS"])
server.start()
stop.wait()
server.stop(0).wait()
"""


@pytest.fixture
def stand_ins(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which `-m <name>_service` runs a stand-in."""
    for service in SERVICES:
        module = tmp_path / "modules" / f"{service}_service"
        module.mkdir(parents=True)
        (module / "__init__.py").touch()
        (module / "__main__.py").write_text(STAND_IN)
    return {"PYTHONPATH": str(tmp_path / "modules")}


def test_every_service_serves_with_topics_made_and_addresses_of_its_own(
    shop_stack: Callable[..., Stack], stand_ins: dict[str, str]
) -> None:
    stack = shop_stack(env={"*": stand_ins})
    assert [each.service for each in stack.instances] == list(SERVICES)
    assert all(is_serving(each.address) for each in stack.instances)
    assert len({each.address for each in stack.instances}) == 6
    known = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).topics
    assert {spec.name for spec in TOPICS} < set(known)
    log = stack.instance("payment").log_path.read_text().split()
    assert log[0].startswith("sqlite:////")
    assert log[1:] == ["payment-1", stack.bootstrap]


def test_a_killed_instance_comes_back_at_its_address(
    shop_stack: Callable[..., Stack], kafka: str, stand_ins: dict[str, str]
) -> None:
    stack = shop_stack(env={"*": stand_ins}, kafka=KafkaConfig(kafka), store="postgresql", instances={"order": 2})
    before, other = stack.pid("order", 2), stack.pid("order", 1)
    assert stack.kill("order", 2) == -signal.SIGKILL
    assert [is_serving(address) for address in stack.addresses("order")] == [True, False]
    stack.restart("order", 2)
    assert stack.pid("order", 2) != before
    assert stack.pid("order", 1) == other
    assert [is_serving(address) for address in stack.addresses("order")] == [True, True]
    assert stack.kill("payment", sign=signal.SIGTERM) == 0


def test_leaving_a_stack_leaves_no_process(kafka: str, tmp_path: Path, stand_ins: dict[str, str]) -> None:
    with Stack(StackSettings(folder=tmp_path / "stack", kafka=KafkaConfig(kafka), env={"*": stand_ins})) as stack:
        running = [psutil.Process(stack.pid(service)) for service in SERVICES]
    assert not any(process.is_running() for process in running)


def test_a_service_that_does_not_start_is_named_with_its_last_words(
    kafka: str, tmp_path: Path, stand_ins: dict[str, str]
) -> None:
    env = {"*": stand_ins, "shipping": {"BROKEN": "1"}}
    with pytest.raises(ChildDied, match="shipping-1 ended with 1:\nno such setting: BROKEN"):
        Stack(StackSettings(folder=tmp_path / "stack", kafka=KafkaConfig(kafka), env=env)).__enter__()
    parent = psutil.Process()
    assert not [child for child in parent.children() if "_service" in " ".join(child.cmdline())]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"instances": {"order": 2}}, "a SQLite store has one process"),
        ({"env": {"warehouse": {}}}, "no such services: warehouse"),
        ({"store": "postgresql", "instances": {"order": 2}, "fixed_ports": True}, "fixed ports"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        StackSettings(folder=tmp_path, **settings)  # type: ignore[arg-type]


def test_services_on_a_broker_of_their_own_do_not_heed_how_another_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "elsewhere:9093")
    monkeypatch.setenv("MILLRACE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("MILLRACE_KAFKA_SECURITY_SASL_USERNAME", "somebody")
    own = KafkaConfig("127.0.0.1:9092")
    instance = Instance(
        service="order", number=1, grpc_port=1, metrics_port=2, store_url="sqlite:////tmp/order.db", folder=tmp_path
    )
    for name, value in instance.environment(own).items():
        monkeypatch.setenv(name, value)
    assert given_kafka() == own


def devkit(tmp_path: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env, "MILLRACE_RUN_DIR": str(tmp_path / "run")}
    command = [sys.executable, "-m", "devkit.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_up_with_settings_of_no_use_starts_nothing_and_names_every_fault(tmp_path: Path) -> None:
    env = {"MILLRACE_KAFKA_BOOTSTRAP": "nowhere", "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SSH"}
    up = devkit(tmp_path, env, "up", "--free-ports")
    assert up.returncode == 1
    assert "MILLRACE_KAFKA_BOOTSTRAP: 'nowhere' is not host:port" in up.stdout
    assert "MILLRACE_KAFKA_SECURITY_PROTOCOL: 'SSH' is none of PLAINTEXT" in up.stdout
    assert "creating topics" not in up.stdout
    assert devkit(tmp_path, env, "down").stdout == "the shop is not up\n"


@pytest.mark.servers
def test_down_stops_everything_up_started(kafka: str, tmp_path: Path, stand_ins: dict[str, str]) -> None:
    env = {**stand_ins, "MILLRACE_KAFKA_BOOTSTRAP": kafka}
    up = devkit(tmp_path, env, "up", "--free-ports")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert up.stdout.endswith("the shop is up\n")
        addresses = re.findall(r"serves at (\S+)", up.stdout)
        assert [is_serving(address) for address in addresses] == [True] * 6
        assert "already up" in devkit(tmp_path, env, "up", "--free-ports").stdout
    finally:
        down = devkit(tmp_path, env, "down")
    assert down.stdout == "the shop is down: 7 processes stopped\n"
    assert [is_serving(address) for address in addresses] == [False] * 6
    assert devkit(tmp_path, env, "down").stdout == "the shop is not up\n"


@pytest.mark.servers
@pytest.mark.parametrize("moment", ["starting Kafka", "creating topics", "order-1 serves", "the shop is up"])
def test_ctrl_c_at_any_moment_leaves_no_process(tmp_path: Path, stand_ins: dict[str, str], moment: str) -> None:
    environment = {**os.environ, **stand_ins, "MILLRACE_RUN_DIR": str(tmp_path / "run")}
    environment.pop("MILLRACE_KAFKA_BOOTSTRAP", None)
    command = [sys.executable, "-m", "devkit.cli", "supervise", "--free-ports"]
    supervisor = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    for line in supervisor.stdout:
        if line.startswith(moment):
            break
    below = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(timeout=40) == 130
    assert not any(process.is_running() for process in below)
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(each.info["cmdline"] or ())]
