"""Settings from the environment, and from nothing else: every fault is reported at once.

A program's `config.py` has one function that takes an `Environment` and returns its frozen config; `load` runs it. The settings
that all programs share are here. Secrets are `Secret`, which no log line or traceback shows.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from environs import Env, EnvValidationError, ValidationError, validate

from millrace.edge.server import EdgeConfig
from millrace.errors import Invalid
from millrace.kafka.config import KafkaConfig
from millrace.observability.traces import DEFAULT_RATIO

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

    def address(self, name: str, default: str = _REQUIRED) -> str:
        """Read host:port."""
        return self._env.str(name, default, validate=_address)

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


def _address(value: str) -> None:
    host, separator, port = value.strip().rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValidationError("must be host:port")


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


_SECURITY = "MILLRACE_KAFKA_SECURITY_"
_KAFKA_VARIABLES = {
    "bootstrap": "MILLRACE_KAFKA_BOOTSTRAP",
    "security_protocol": _SECURITY + "PROTOCOL",
    "tls_ca_file": _SECURITY + "CA_FILE",
    "tls_certificate_file": _SECURITY + "CERTIFICATE_FILE",
    "tls_key_file": _SECURITY + "KEY_FILE",
    "sasl_mechanism": _SECURITY + "SASL_MECHANISM",
    "sasl_username": _SECURITY + "SASL_USERNAME",
    "sasl_password": _SECURITY + "SASL_PASSWORD",
    "group_protocol": "MILLRACE_KAFKA_GROUP_PROTOCOL",
    "group_instance_id": "MILLRACE_KAFKA_GROUP_INSTANCE_ID",
}
_NO_KAFKA = KafkaConfig("localhost:9092")


class KafkaSettings:
    """How brokers are reached, as a `KafkaConfig`, which knows what makes sense; here its faults get the names of variables."""

    @staticmethod
    def read(environment: Environment) -> KafkaConfig:
        """Read MILLRACE_KAFKA_BOOTSTRAP, MILLRACE_KAFKA_SECURITY_*, MILLRACE_KAFKA_GROUP_* and MILLRACE_KAFKA_SESSION_TIMEOUT_SECONDS."""
        bootstrap = environment.text(_KAFKA_VARIABLES["bootstrap"]) or _NO_KAFKA.bootstrap
        rest = {name: environment.text(variable, "") for name, variable in _KAFKA_VARIABLES.items() if name != "bootstrap"}
        given: dict[str, Any] = {name: value for name, value in rest.items() if value}
        session = environment.number(
            "MILLRACE_KAFKA_SESSION_TIMEOUT_SECONDS", _NO_KAFKA.session_timeout_seconds, least=1.0, most=300.0
        )
        if session is not None:
            given["session_timeout_seconds"] = session
        try:
            return KafkaConfig(bootstrap, **given)
        except Invalid as invalid:
            for violation in invalid.violations:
                environment.fault(_KAFKA_VARIABLES[violation.field], violation.description)
            return _NO_KAFKA


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
    """What the process tells of itself. `otlp_endpoint` empty: traces are not exported. `sample_ratio` is that of new traces, 0 to 1."""

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
            sample_ratio=environment.number("OTEL_TRACES_SAMPLER_ARG", DEFAULT_RATIO, most=1.0),
            log_level=environment.choice("MILLRACE_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        )
