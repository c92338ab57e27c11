"""The settings of the payment service."""

from dataclasses import dataclass

from millrace.settings import Environment
from shopkit.rules import Rule, parse_rules
from shopkit.service import CommonSettings

_DEFAULT_RULES = (
    '[{"when": {"customer_id": "00000000-0000-4000-8000-000000000402"}, "then": "decline", "reason": "card declined"}]'
)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the service is told. Seconds; `development` opens what is for development only."""

    common: CommonSettings
    gateway_rules: tuple[Rule, ...]
    gateway_delay_seconds: float
    gateway_timeout_seconds: float
    gateway_give_up_seconds: float
    development: bool


def read_config(environment: Environment) -> Config:
    """Read the settings, every fault noted in the environment."""
    return Config(
        common=CommonSettings.read(environment, service="payment", grpc_port=50052, metrics_port=9052),
        gateway_rules=environment.json("PAYMENT_GATEWAY_RULES", _DEFAULT_RULES, parse_rules),
        gateway_delay_seconds=(environment.whole("PAYMENT_GATEWAY_DELAY_MS", 20, least=0, most=60_000) or 0) / 1000,
        gateway_timeout_seconds=environment.number("PAYMENT_GATEWAY_TIMEOUT_SECONDS", 2.0, least=0.01, most=20.0),
        gateway_give_up_seconds=environment.number("PAYMENT_GATEWAY_GIVE_UP_SECONDS", 20.0, least=0.0, most=86_400.0),
        development=environment.flag("MILLRACE_DEVELOPMENT", False),
    )
