"""Opens channels to other services: spread over replicas, repeated where that is safe, alive, with deadline and trace passed on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.trace import TracerProvider

from millrace.edge.deadlines import OutgoingDeadline
from millrace.edge.interceptor import OutgoingStep, SingleAnswer, StreamedAnswer
from millrace.edge.keepalive import Keepalive
from millrace.edge.status import violations_of
from millrace.edge.tracing import ClientTracing
from millrace.errors import FieldViolation


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """How a channel behaves.

    `idempotent_methods` ("package.Service/Method") are the only ones sent again, and only on UNAVAILABLE, at most `max_attempts`
    times in all (gRPC takes no more than 5); a channel that mostly fails stops repeating. A call that should wait for a server
    that is not up yet passes `wait_for_ready=True`. `tracers` None: calls are not traced.
    """

    idempotent_methods: Sequence[str] = ()
    max_attempts: int = 4
    initial_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 1.0
    default_deadline_seconds: float = 10.0
    deadline_margin_seconds: float = 0.05
    max_message_bytes: int = 4 * 1024 * 1024
    keepalive: Keepalive = field(default_factory=Keepalive)
    tracers: TracerProvider | None = None

    def service_config(self) -> str:
        """Return gRPC's service config as JSON. Source: gRFC A2 and A6."""
        config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if self.idempotent_methods and self.max_attempts > 1:
            config["methodConfig"] = [{"name": [_name(m) for m in self.idempotent_methods], "retryPolicy": self._retries()}]
            config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
        return json.dumps(config)

    def _retries(self) -> dict[str, Any]:
        return {
            "maxAttempts": self.max_attempts,
            "initialBackoff": f"{self.initial_backoff_seconds}s",
            "maxBackoff": f"{self.max_backoff_seconds}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }


def _name(full_method: str) -> dict[str, str]:
    service, _, method = full_method.strip("/").partition("/")
    return {"service": service, "method": method}


def open_channel(target: str, config: ChannelConfig) -> grpc.aio.Channel:
    """Return a channel to `target`, such as "dns:///order:50051". It connects with its first call; close it when done.

    For replicas the name must resolve to each of them (a headless service): round_robin spreads calls over what it finds.
    """
    steps: list[OutgoingStep] = [OutgoingDeadline(config.default_deadline_seconds, config.deadline_margin_seconds)]
    if config.tracers is not None:
        steps.append(ClientTracing(config.tracers))
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", config.service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        *config.keepalive.client_options(),
    ]
    return grpc.aio.insecure_channel(target, options=options, interceptors=[SingleAnswer(steps), StreamedAnswer(steps)])


def status_violations(error: grpc.RpcError) -> tuple[FieldViolation, ...]:
    """Return the fields a server refused, in its order; empty when the status carries none."""
    return violations_of(error)
