"""One real Apache Kafka broker (KRaft, combined roles) bound to 127.0.0.1, as a child of this process.

For tests, demo and benchmarks: its footprint is small, its data is not replicated, topics are made explicitly only. It speaks plain
text; given a `BrokerSecurity` it has listeners with TLS and SASL as well.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devkit.kafka_jars import kafka_jars
from devkit.kafka_jvm import java_command, make_archive
from devkit.kafka_security import LISTENERS, BrokerSecurity
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.waiting import wait_until
from devkit.workspace import free_port, is_free

_HEAP = ("-Xms256m", "-Xmx256m")
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners={client_listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={client_listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
"""


class KafkaBroker:
    """A broker that can be stopped, killed and started again on the same data and port; leaving the context stops it.

    `folder` holds its data and log and is kept; without one a temporary folder is used and removed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        children: Children | None = None,
        security: BrokerSecurity | None = None,
    ) -> None:
        self._temporary = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="millrace-kafka-"))
        self._port = port or free_port()
        self._controller_port = free_port()
        self._security = security
        self._secured_ports = {} if security is None else {listener: free_port() for listener in LISTENERS}
        self._own_children = children is None
        self._children = children or Children()
        self._child: Child | None = None
        self._archive_to: Path | None = None

    @property
    def bootstrap(self) -> str:
        """Return the address for clients, `host:port`."""
        return f"127.0.0.1:{self._port}"

    def secured_bootstrap(self, protocol: Literal["SASL_SSL", "SSL"]) -> str:
        """Return the address for clients of a protocol with TLS. Raises KeyError without `security`."""
        return f"127.0.0.1:{self._secured_ports[protocol]}"

    @property
    def pid(self) -> int:
        """Return the broker's process id. Raises RuntimeError if it is not running."""
        return self._running().pid

    @property
    def log_path(self) -> Path:
        """Return the file its output goes to."""
        return self._folder / "kafka.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, *, timeout_seconds: float = 60, say: Callable[[str], None] = print) -> None:
        """Start it and return once it answers a client. Raises OSError if its port is taken, ChildDied if it ends."""
        if not is_free(self._port):
            raise OSError(f"port {self._port} is in use: is another Kafka running?")
        jars = kafka_jars(say)
        if self._archive_to is None:
            make_archive(jars, _run_for_archive, say)
        settings = self._format(jars)
        argv = [*java_command(jars, *_HEAP, archive_to=self._archive_to), "kafka.Kafka", str(settings)]
        self._child = self._children.start(ChildSpec(name="kafka", argv=argv, log_path=self.log_path, cwd=self._folder))
        child = self._child
        wait_until(
            lambda: answers(self.bootstrap) or child.check(),
            what=f"Kafka at {self.bootstrap} answering",
            timeout_seconds=timeout_seconds,
            seen=lambda: log_tail(self.log_path),
        )

    def stop(self) -> None:
        """End it in order (SIGTERM), and return once it is gone."""
        self._running().stop(timeout_seconds=30)

    def kill(self) -> None:
        """SIGKILL it, and return once it is gone."""
        self._running().kill()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self._running().process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on."""
        self._running().process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and port."""
        if self._child is not None and self._child.alive:
            self.stop()
        self.start()

    def checkpoint(self, partition: str) -> None:
        """Restart it, keeping a copy of a partition, `topic-0`, as it is now."""
        self.stop()
        shutil.copytree(self._data / partition, self._folder / "checkpoint" / partition)
        self.start()

    def roll_back(self, partition: str) -> None:
        """Restart it with a partition as it was at its checkpoint: what came later is lost, as by an unclean leader election."""
        self.stop()
        shutil.rmtree(self._data / partition)
        shutil.move(self._folder / "checkpoint" / partition, self._data / partition)
        self.start()

    def close(self) -> None:
        """End it, and remove its data if they are temporary."""
        if self._temporary and self._child is not None:
            self._child.kill()
        elif self._child is not None:
            self._child.stop()
        if self._own_children:
            self._children.close()
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _running(self) -> Child:
        if self._child is None or not self._child.alive:
            raise RuntimeError("this broker is not running")
        return self._child

    def _format(self, jars: Path) -> Path:
        """Write the settings, and format the data folder the first time."""
        settings = self._folder / "server.properties"
        self._folder.mkdir(parents=True, exist_ok=True)
        listeners = {"PLAINTEXT": self._port, **self._secured_ports}
        client_listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        lines = _SETTINGS.format(client_listeners=client_listeners, controller_port=self._controller_port, data=self._data)
        settings.write_text(lines if self._security is None else lines + self._security.settings(self._folder))
        if not (self._data / "meta.properties").exists():
            words = ["kafka.tools.StorageTool", "format", "--cluster-id", "millrace-devkit-000000", "--config", str(settings)]
            words += [] if self._security is None else self._security.format_words()
            log = self._folder / "format.log"
            child = self._children.start(ChildSpec(name="kafka-format", argv=[*java_command(jars), *words], log_path=log))
            if child.process.wait() != 0:
                raise RuntimeError(f"Kafka's storage could not be formatted:\n{log_tail(log)}")
        return settings


def answers(bootstrap: str) -> bool:
    """Tell whether a broker at this address answers within a second."""
    try:
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 1000})
        return bool(client.list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def _run_for_archive(archive: Path) -> None:
    broker = KafkaBroker()
    broker._archive_to = archive
    with broker:
        broker.stop()
