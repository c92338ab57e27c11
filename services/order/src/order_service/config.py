"""The order service's settings, from the environment alone."""

from dataclasses import dataclass, field
from datetime import timedelta

from millrace.settings import Environment
from order_service.application.saga import SagaTiming
from shopkit.service import CommonSettings


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much each cache of the edge remembers, and for how long at most."""

    entries: int = 10_000
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Config:
    """What the order service is told."""

    common: CommonSettings
    timing: SagaTiming
    refuse_doubles: bool = False
    cache: CacheLimits = field(default_factory=CacheLimits)

    @classmethod
    def read(cls, environment: Environment) -> "Config":
        """Read the common settings and ORDER_*."""
        common = CommonSettings.read(environment, service="order", grpc_port=50051, metrics_port=9051)
        answer = environment.number("ORDER_SAGA_ANSWER_SECONDS", 10.0, least=0.1)
        attempts = environment.whole("ORDER_SAGA_ATTEMPTS", 4, most=20)
        shipping = environment.number("ORDER_SAGA_SHIPPING_SECONDS", 300.0, least=0.1)
        refuse_doubles = environment.flag("ORDER_REFUSE_DOUBLES", False)
        timing = SagaTiming(timedelta(seconds=answer or 1), attempts, timedelta(seconds=shipping or 1))
        entries = environment.whole("ORDER_CACHE_ENTRIES", 10_000)
        seconds = environment.number("ORDER_CACHE_SECONDS", 30.0, least=0.001)
        return cls(common, timing, refuse_doubles, CacheLimits(entries, seconds))
