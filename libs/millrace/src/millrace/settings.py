"""Settings from the environment, and from nothing else: every fault is reported at once.

A program's `config.py` has one function that takes an `Environment` and returns its frozen config; `load` runs it. The settings
that all programs share are here. Secrets are `Secret`, which no log line or traceback shows.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from environs import Env, EnvValidationError, ValidationError, validate

from millrace.edge.server import EdgeConfig
from millrace.errors import Invalid

T = TypeVar("T")
_REQUIRED: Any = ...


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that does not show itself; `reveal` gives it to the one who needs it."""

    value: str = field(default="")

    def reveal(self) -> str:
        """Return the secret."""
        return self.value

    def __repr__(self) -> str:
        return "Secret(***)" if self.value else "Secret()"

    __str__ = __repr__


class Environment:
    """Reads variables. A fault is noted and the reading goes on, with None in its place; `load` then reports them all."""

    def __init__(self) -> None:
        self._env = Env(eager=False)
        self._faults: list[tuple[str, str]] = []

    def fault(self, name: str, reason: str) -> None:
        """Note a fault that lies between variables."""
        self._faults.append((name, reason))

    def text(self, name: str, default: str = _REQUIRED) -> str:
        """Read a text; without a default it must be set and not be empty."""
        checks = [validate.Length(min=1, error="must not be empty")] if default is _REQUIRED else None
        return self._env.str(name, default, validate=checks)

    def secret(self, name: str, default: str = "") -> Secret:
        """Read a secret."""
        return Secret(self._env.str(name, default) or "")

    def whole(self, name: str, default: int = _REQUIRED, *, least: int = 1, most: int | None = None) -> int:
        """Read a whole number within limits."""
        return self._env.int(name, default, validate=validate.Range(min=least, max=most))

    def number(self, name: str, default: float = _REQUIRED, *, least: float = 0.0, most: float | None = None) -> float:
        """Read a number within limits."""
        return self._env.float(name, default, validate=validate.Range(min=least, max=most))

    def flag(self, name: str, default: bool) -> bool:
        """Read true or false."""
        return self._env.bool(name, default)

    def choice(self, name: str, allowed: Sequence[str], default: str = _REQUIRED) -> str:
        """Read one of the allowed texts."""
        reason = f"must be one of {', '.join(allowed)}"
        return self._env.str(name, default, validate=validate.OneOf(allowed, error=reason))

    def file(self, name: str, default: str = "") -> str:
        """Read the path of a file that exists and can be read; empty if it is not set."""
        return self._env.str(name, default, validate=_readable)

    def address(self, name: str, default: str = _REQUIRED) -> str:
        """Read host:port."""
        return self._env.str(name, default, validate=_address)

    def addresses(self, name: str, default: str = _REQUIRED) -> tuple[str, ...]:
        """Read a list of host:port, with commas between."""
        found = self._env.list(name, default if default is _REQUIRED else default.split(","), validate=_addresses)
        return tuple(address.strip() for address in found or ())

    def checked(self, name: str, check: Callable[[str], None], default: str = _REQUIRED) -> str:
        """Read a text that `check` accepts; it raises ValueError with the reason if not."""

        def run(value: str) -> None:
            try:
                check(value)
            except ValueError as fault:
                raise ValidationError(str(fault)) from fault

        return self._env.str(name, default, validate=run)

    def json(self, name: str, default: str, parse: Callable[[Any], T]) -> T:
        """Read JSON and return what `parse` makes of it; it raises ValueError, KeyError or TypeError if it does not fit."""
        raw = self._env.str(name, default) or default
        try:
            return parse(json.loads(raw))
        except (ValueError, KeyError, TypeError) as reason:
            self.fault(name, f"does not fit: {reason}")
            return parse(json.loads(default))

    def faults(self) -> list[tuple[str, str]]:
        """End the reading and return every fault as (variable, reason)."""
        found: list[tuple[str, str]] = []
        try:
            self._env.seal()
        except EnvValidationError as invalid:
            messages: Any = invalid.error_messages
            found = [(name, str(reason).rstrip(".")) for name, reasons in messages.items() for reason in reasons]
        return found + self._faults


def load(parse: Callable[[Environment], T]) -> T:
    """Return the settings `parse` reads. Any fault: print all of them to stderr, one a line, and exit with code 2."""
    environment = Environment()
    try:
        settings = parse(environment)
    except Exception as error:
        # What `parse` builds from values that are missing may fail; the faults noted by then are the cause.
        faults = environment.faults()
        if isinstance(error, Invalid):
            faults += [(v.field, v.description) for v in error.violations]
        if not faults:
            raise
        _refuse(faults)
    if faults := environment.faults():
        _refuse(faults)
    return settings


def _refuse(faults: Sequence[tuple[str, str]]) -> NoReturn:
    lines = ["The settings in the environment are not usable:", *(f"  {name}: {reason}" for name, reason in faults)]
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(2)


def _readable(path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            return
    except OSError as fault:
        raise ValidationError(f"cannot read {path}: {fault.strerror}") from fault


def _address(value: str) -> None:
    host, separator, port = value.strip().rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValidationError("must be host:port")


def _addresses(values: Sequence[str]) -> None:
    if not values:
        raise ValidationError("must name at least one host:port")
    for value in values:
        _address(value)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the store is: `sqlite:///path` or `postgresql://...`. The URL may hold a password, so it is a secret."""

    url: Secret

    @classmethod
    def read(cls, environment: Environment) -> "StoreSettings":
        """Read MILLRACE_STORE_URL."""
        return cls(Secret(environment.checked("MILLRACE_STORE_URL", _store_url) or ""))


def _store_url(value: str) -> None:
    parts = urlsplit(value)
    sqlite = parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1
    postgresql = parts.scheme in ("postgresql", "postgres") and len(parts.path) > 1
    if not (sqlite or postgresql):
        raise ValueError("must be sqlite:///path or postgresql://user@host/database")


_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How brokers are reached. `ca_file` empty: the system's authorities; certificate and key only for mutual TLS."""

    bootstrap: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: Secret = Secret()
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: Secret = Secret()

    @classmethod
    def read(cls, environment: Environment) -> "KafkaSettings":
        """Read MILLRACE_KAFKA_BOOTSTRAP and MILLRACE_KAFKA_SECURITY_*."""
        prefix = "MILLRACE_KAFKA_SECURITY_"
        settings = cls(
            bootstrap=environment.addresses("MILLRACE_KAFKA_BOOTSTRAP"),
            security_protocol=environment.choice(prefix + "PROTOCOL", _SECURITY, "PLAINTEXT"),
            ca_file=environment.file(prefix + "CA_FILE"),
            certificate_file=environment.file(prefix + "CERTIFICATE_FILE"),
            key_file=environment.file(prefix + "KEY_FILE"),
            key_password=environment.secret(prefix + "KEY_PASSWORD"),
            sasl_mechanism=environment.choice(prefix + "SASL_MECHANISM", _MECHANISMS, "SCRAM-SHA-512"),
            sasl_username=environment.text(prefix + "SASL_USERNAME", ""),
            sasl_password=environment.secret(prefix + "SASL_PASSWORD"),
        )
        settings._check(environment, prefix)
        return settings

    def _check(self, environment: Environment, prefix: str) -> None:
        if (self.security_protocol or "").startswith("SASL"):
            if not self.sasl_username:
                environment.fault(prefix + "SASL_USERNAME", f"must be set with {self.security_protocol}")
            if not self.sasl_password.reveal():
                environment.fault(prefix + "SASL_PASSWORD", f"must be set with {self.security_protocol}")
        if bool(self.certificate_file) != bool(self.key_file):
            environment.fault(prefix + "KEY_FILE", "certificate and key must be set together")

    def client_options(self) -> dict[str, str]:
        """Return the settings as librdkafka names them, secrets included."""
        options = {"bootstrap.servers": ",".join(self.bootstrap), "security.protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            options |= {
                "ssl.ca.location": self.ca_file,
                "ssl.certificate.location": self.certificate_file,
                "ssl.key.location": self.key_file,
                "ssl.key.password": self.key_password.reveal(),
            }
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.reveal(),
            }
        return {name: value for name, value in options.items() if value}


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How the gRPC edge listens and answers."""

    config: EdgeConfig
    default_deadline_seconds: float
    log_level: int

    @classmethod
    def read(cls, environment: Environment, *, address: str, needs: tuple[str, ...] = ("database",)) -> "EdgeSettings":
        """Read MILLRACE_GRPC_*; `address` is what the service listens on by default, `needs` what it cannot answer without."""
        config = EdgeConfig(
            address=environment.address("MILLRACE_GRPC_ADDRESS", address),
            max_concurrent_calls=environment.whole("MILLRACE_GRPC_MAX_CALLS", 1000),
            max_connection_age_seconds=environment.number("MILLRACE_GRPC_MAX_CONNECTION_AGE_SECONDS", 300.0, least=1.0),
            drain_seconds=environment.number("MILLRACE_GRPC_DRAIN_SECONDS", 10.0),
            needs=needs,
        )
        seconds = environment.number("MILLRACE_GRPC_DEFAULT_DEADLINE_SECONDS", 30.0, least=0.1)
        level = environment.choice("MILLRACE_GRPC_LOG_LEVEL", ("INFO", "DEBUG"), "INFO")
        return cls(config, seconds, logging.DEBUG if level == "DEBUG" else logging.INFO)


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What the process tells of itself. `otlp_endpoint` empty: traces are not exported."""

    instance: str
    metrics_address: str
    otlp_endpoint: str
    sample_ratio: float
    log_level: str

    @classmethod
    def read(cls, environment: Environment, *, metrics_address: str, instance: str) -> "TelemetrySettings":
        """Read MILLRACE_INSTANCE, MILLRACE_METRICS_ADDRESS, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG, MILLRACE_LOG_LEVEL."""
        return cls(
            instance=environment.text("MILLRACE_INSTANCE", instance),
            metrics_address=environment.address("MILLRACE_METRICS_ADDRESS", metrics_address),
            otlp_endpoint=environment.text("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            sample_ratio=environment.number("OTEL_TRACES_SAMPLER_ARG", 0.01, most=1.0),
            log_level=environment.choice("MILLRACE_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        )
