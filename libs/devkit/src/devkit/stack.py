"""Kafka and the six services as separate processes: what the demo, `make up`, the end-to-end tests and the benchmarks run.

Each stack has a broker, stores and ports of its own, so that two never meet, unless they are given. Leaving the context stops all.
"""

import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaException

from devkit.kafka import KafkaBroker
from devkit.postgres import PostgresServer, create_database, drop_database
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.services import GRPC_PORTS, METRICS_PORTS, SERVICES, Instance, is_serving
from devkit.waiting import wait_until
from devkit.workspace import free_port, is_free
from millrace.errors import MillraceError
from millrace.kafka import KafkaConfig
from shopkit.topics import create_topics

CANNOT_START = (RuntimeError, OSError, MillraceError, KafkaException)
"""What a stack raises that cannot start. The text is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What to start.

    `folder` gets logs and data. `kafka` and `postgres_url` (of a server where databases may be made) name servers to use instead of
    starting them. `instances` is the number of processes of each service, 1 where it names none; SQLite allows no more.
    `env` adds to the environment of a service, and under `*` to that of every one. `fixed_ports` takes the documented ports.
    """

    folder: Path
    store: Literal["sqlite", "postgresql"] = "sqlite"
    kafka: KafkaConfig | None = None
    postgres_url: str | None = None
    instances: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fixed_ports: bool = False
    kafka_port: int | None = None
    ready_seconds: float = 60

    def __post_init__(self) -> None:
        unknown = [name for name in {*self.instances, *self.env} - {"*"} if name not in SERVICES]
        if unknown:
            raise ValueError(f"no such services: {', '.join(sorted(unknown))}")
        if self.store == "sqlite" and any(count > 1 for count in self.instances.values()):
            raise ValueError("a SQLite store has one process; use postgresql for more instances")
        if self.fixed_ports and any(count > 1 for count in self.instances.values()):
            raise ValueError("fixed ports allow one process of each service")


class Stack:
    """A running shop. `kafka` is its broker, None when an address was given."""

    def __init__(
        self, settings: StackSettings, *, children: Children | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._say = say
        self._exit = ExitStack()
        self._children = children or self._exit.enter_context(Children())
        self._running: dict[str, Child] = {}
        self._instances: dict[str, Instance] = {}
        self.kafka: KafkaBroker | None = None
        self.postgres: PostgresServer | None = None
        self._way_to_kafka = settings.kafka

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """Return the broker's address. Raises RuntimeError before it is known."""
        return self._kafka_config().bootstrap

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Return every process that should run, in the order of `SERVICES`."""
        return tuple(self._instances.values())

    def addresses(self, service: str) -> tuple[str, ...]:
        """Return the gRPC addresses of a service's instances."""
        return tuple(each.address for each in self.instances if each.service == service)

    def address(self, service: str) -> str:
        """Return the gRPC address of a service's first instance."""
        return self.addresses(service)[0]

    def instance(self, service: str, number: int = 1) -> Instance:
        """Return one instance; numbers start at 1."""
        return self._instances[f"{service}-{number}"]

    def pid(self, service: str, number: int = 1) -> int:
        """Return the process id of an instance."""
        return self._running[self.instance(service, number).name].pid

    def alive(self, service: str, number: int = 1) -> bool:
        """Tell whether the process of an instance runs."""
        return self._running[self.instance(service, number).name].alive

    def start(self) -> None:
        """Start everything and return once every service is healthy.

        Raises ChildDied or TimeoutError with the log's end, and what `create_topics` raises: CANNOT_START names all of them.
        """
        kafka = self._way_to_kafka = self._settings.kafka or self._start_kafka()
        self._say("creating topics" if self.kafka else f"creating topics at {self.bootstrap}")
        create_topics(self.bootstrap, kafka.client_settings())
        self._plan_instances()
        self._say("starting the services")
        for instance in self.instances:
            self._launch(instance)
        self.wait_serving()

    def wait_serving(self, *, timeout_seconds: float | None = None) -> None:
        """Return once every instance is healthy; say each as it comes."""
        deadline = time.monotonic() + (timeout_seconds or self._settings.ready_seconds)
        for instance in self.instances:
            self._await(instance, max(1.0, deadline - time.monotonic()))
            self._say(f"{instance.name} serves at {instance.address}")

    def kill(self, service: str, number: int = 1, sign: signal.Signals = signal.SIGKILL) -> int:
        """Send an instance a signal and return its exit code once it is gone."""
        child = self._running[self.instance(service, number).name]
        return child.kill() if sign == signal.SIGKILL else child.stop(sign=sign)

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """Freeze every instance of a service until the block ends: connections stay open, nothing answers."""
        frozen = [self._running[each.name].process for each in self.instances if each.service == service]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in frozen:
                process.send_signal(signal.SIGCONT)

    def restart(self, service: str, number: int = 1, *, wait: bool = True, env: Mapping[str, str] | None = None) -> None:
        """Start an instance again at its old addresses and store, stopped first if it runs; wait until it is healthy."""
        instance = self.instance(service, number)
        if self._running[instance.name].alive:
            self.kill(service, number, signal.SIGTERM)
        self._launch(instance, env or {})
        if wait:
            self._await(instance, self._settings.ready_seconds)

    def close(self) -> None:
        """Stop the services together, then the servers; nothing started here is left."""
        try:
            children = [child for child in self._running.values() if child.alive]
            for child in children:
                child.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 15
            for child in children:
                child.stop(timeout_seconds=max(0.1, deadline - time.monotonic()))
        finally:
            self._exit.close()

    def _start_kafka(self) -> KafkaConfig:
        self._say("starting Kafka")
        begun = time.monotonic()
        broker = KafkaBroker(self._settings.folder / "kafka", port=self._settings.kafka_port, children=self._children)
        self._exit.callback(broker.close)
        broker.start(say=self._say)
        self.kafka = broker
        self._say(f"Kafka answers at {broker.bootstrap} after {time.monotonic() - begun:.1f} s")
        return KafkaConfig(broker.bootstrap)

    def _kafka_config(self) -> KafkaConfig:
        if self._way_to_kafka is None:
            raise RuntimeError("this stack has no Kafka yet")
        return self._way_to_kafka

    def _plan_instances(self) -> None:
        for service in SERVICES:
            store_url = self._store_url(service)
            extra = {**self._settings.env.get("*", {}), **self._settings.env.get(service, {})}
            for number in range(1, self._settings.instances.get(service, 1) + 1):
                fixed = self._settings.fixed_ports
                instance = Instance(
                    service=service,
                    number=number,
                    grpc_port=GRPC_PORTS[service] if fixed else free_port(),
                    metrics_port=METRICS_PORTS[service] if fixed else free_port(),
                    store_url=store_url,
                    folder=self._settings.folder,
                    extra=extra,
                )
                self._instances[instance.name] = instance
        taken = [port for each in self.instances for port in (each.grpc_port, each.metrics_port) if not is_free(port)]
        if taken:
            raise OSError(f"ports in use: {', '.join(map(str, taken))}")

    def _store_url(self, service: str) -> str:
        if self._settings.store == "sqlite":
            folder = self._settings.folder.resolve() / "stores"
            folder.mkdir(parents=True, exist_ok=True)
            return f"sqlite:///{folder / service}.db"
        server = self._settings.postgres_url
        if server is None:
            if self.postgres is None:
                self._say("starting PostgreSQL")
                self.postgres = self._exit.enter_context(PostgresServer(children=self._children))
            return self.postgres.create_database(service)
        name = f"{service}_{secrets.token_hex(6)}"
        address = create_database(server, name)
        self._exit.callback(drop_database, server, name)
        return address

    def _launch(self, instance: Instance, env: Mapping[str, str] | None = None) -> None:
        self._running[instance.name] = self._children.start(
            ChildSpec(
                name=instance.name,
                argv=[sys.executable, "-m", f"{instance.service}_service"],
                log_path=instance.log_path,
                env={**instance.environment(self._kafka_config()), **(env or {})},
            )
        )

    def _await(self, instance: Instance, timeout_seconds: float) -> None:
        child = self._running[instance.name]
        wait_until(
            lambda: is_serving(instance.address) or child.check(),
            what=f"{instance.name} serving at {instance.address}",
            timeout_seconds=timeout_seconds,
            seen=lambda: log_tail(instance.log_path),
        )
