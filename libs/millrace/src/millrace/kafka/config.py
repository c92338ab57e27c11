"""How to reach Kafka, and the client settings the promises rest on.

Made by each program's config from its environment; every client of Kafka in the library and the services is made from it. It knows
nothing of topics.
"""

import logging
import os
from dataclasses import dataclass, field

from millrace.errors import FieldViolation, Invalid

CLIENT_LOG = logging.getLogger("millrace.kafka.librdkafka")
"""Where librdkafka's own lines go, instead of raw to standard error."""

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
GROUP_PROTOCOLS = ("classic", "consumer")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

ClientSettings = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Addresses and credentials of one Kafka cluster. Raises Invalid, naming every fault at once.

    `bootstrap` is `host:port[,host:port...]`; the files are PEM. `message_timeout_seconds` bounds how long a message that was
    handed to the client may still be delivered, and so how long an outbox relay waits before it takes over from another.
    `session_timeout_seconds` is how long a consumer that was killed is waited for before others get its partitions,
    `max_poll_interval_seconds` one whose thread hangs; half of it is what a message in hand has before its partition moves.
    Under the group protocol `consumer` (KIP-848) the broker decides how long a killed one is waited for. A consumer with a
    `group_instance_id` is a static member (KIP-345): one that is started again within that time gets its partitions back, and nobody
    else's move. No two members of a group may have the same. A topic that is made, or gets more partitions, is noticed within
    `metadata_seconds`. A key may then move to another partition: its order holds across that only where the group had read all before it.
    """

    bootstrap: str
    client_id: str = "millrace"
    security_protocol: str = "PLAINTEXT"
    tls_ca_file: str = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    message_timeout_seconds: float = 5.0
    session_timeout_seconds: float = 6.0
    max_poll_interval_seconds: float = 300.0
    metadata_seconds: float = 60.0
    group_protocol: str = "classic"
    group_instance_id: str = ""

    def __post_init__(self) -> None:
        violations = [*self._address_faults(), *self._file_faults(), *self._sasl_faults()]
        if violations:
            raise Invalid(violations)

    @property
    def transaction_timeout_seconds(self) -> float:
        """How long a transaction may be open before the broker aborts it, and so how long a killed member's keeps readers waiting."""
        return max(10.0, 2 * self.message_timeout_seconds)

    def client_settings(self) -> ClientSettings:
        """Return what every client needs: addresses, identity, TLS and SASL."""
        settings: ClientSettings = {
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2_000,
            "topic.metadata.refresh.interval.ms": round(self.metadata_seconds * 1000),
            "socket.timeout.ms": 10_000,  # what is asked of a broker that went away is asked again after this, not after 60 s
        }
        optional = {
            "ssl.ca.location": self.tls_ca_file,
            "ssl.certificate.location": self.tls_certificate_file,
            "ssl.key.location": self.tls_key_file,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
        }
        return settings | {name: value for name, value in optional.items() if value}

    def producer_settings(self) -> ClientSettings:
        """Return settings that lose and reorder nothing: acks=all, idempotent, and Java's partitioner (docs/wire-format.md)."""
        return self.client_settings() | {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "message.max.bytes": 2_097_152,  # a dead letter is a record of full size and why it is dead
            "compression.type": "lz4",
            "message.timeout.ms": round(self.message_timeout_seconds * 1000),
        }

    def consumer_settings(self, group: str) -> ClientSettings:
        """Return settings under which only explicit commits move the group, and a rebalance moves only what has to move."""
        settings: ClientSettings = self.client_settings() | {
            "group.id": group,
            "group.protocol": self.group_protocol,
            "max.poll.interval.ms": round(self.max_poll_interval_seconds * 1000),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
        }
        if self.group_protocol == "classic":
            settings |= {
                "session.timeout.ms": round(self.session_timeout_seconds * 1000),
                "heartbeat.interval.ms": round(min(self.session_timeout_seconds / 3, 1.0) * 1000),
                "partition.assignment.strategy": "cooperative-sticky",
            }
        if self.group_instance_id:
            settings["group.instance.id"] = self.group_instance_id
        return settings

    def _address_faults(self) -> list[FieldViolation]:
        faults = []
        for address in self.bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                faults.append(FieldViolation("bootstrap", f"{address.strip()!r} is not host:port"))
        if self.security_protocol not in SECURITY_PROTOCOLS:
            faults.append(
                FieldViolation("security_protocol", f"{self.security_protocol!r} is none of {', '.join(SECURITY_PROTOCOLS)}")
            )
        if self.message_timeout_seconds <= 0:
            faults.append(FieldViolation("message_timeout_seconds", "must be above 0"))
        if self.metadata_seconds < 1:
            faults.append(FieldViolation("metadata_seconds", "must be at least 1"))
        if self.session_timeout_seconds < 1:
            faults.append(FieldViolation("session_timeout_seconds", "must be at least 1"))
        if self.max_poll_interval_seconds < self.session_timeout_seconds:
            faults.append(FieldViolation("max_poll_interval_seconds", "must not be below session_timeout_seconds"))
        if self.group_protocol not in GROUP_PROTOCOLS:
            faults.append(FieldViolation("group_protocol", f"{self.group_protocol!r} is none of {', '.join(GROUP_PROTOCOLS)}"))
        return faults

    def _file_faults(self) -> list[FieldViolation]:
        files = {
            "tls_ca_file": self.tls_ca_file,
            "tls_certificate_file": self.tls_certificate_file,
            "tls_key_file": self.tls_key_file,
        }
        faults = [
            FieldViolation(name, f"{path!r} cannot be read")
            for name, path in files.items()
            if path and not os.access(path, os.R_OK)
        ]
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            faults.append(FieldViolation("tls_key_file", "certificate and key are given together or not at all"))
        if any(files.values()) and "SSL" not in self.security_protocol:
            faults.append(FieldViolation("security_protocol", "TLS files are given, but the protocol is not SSL or SASL_SSL"))
        return faults

    def _sasl_faults(self) -> list[FieldViolation]:
        given = self.sasl_mechanism or self.sasl_username or self.sasl_password
        if not self.security_protocol.startswith("SASL"):
            return [FieldViolation("security_protocol", "SASL settings are given, but the protocol is not SASL")] if given else []
        faults = []
        if self.sasl_mechanism not in SASL_MECHANISMS:
            faults.append(FieldViolation("sasl_mechanism", f"{self.sasl_mechanism!r} is none of {', '.join(SASL_MECHANISMS)}"))
        if not self.sasl_username:
            faults.append(FieldViolation("sasl_username", "is missing"))
        if not self.sasl_password:
            faults.append(FieldViolation("sasl_password", "is missing"))
        return faults
