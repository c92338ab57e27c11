"""The settings of the shipping service."""

from dataclasses import dataclass

from millrace.settings import Environment
from shopkit.rules import Rule, parse_rules
from shopkit.service import CommonSettings

_DEFAULT_RULES = (
    '[{"when": {"item_id": "anvil"}, "then": "delay", "reason": "too heavy for the usual van"},'
    ' {"when": {"item_id": "piano"}, "then": "decline", "reason": "the carrier takes no pianos"}]'
)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the service is told. Seconds."""

    common: CommonSettings
    carrier_rules: tuple[Rule, ...]
    carrier_delay_seconds: float
    carrier_timeout_seconds: float
    carrier_give_up_seconds: float
    delivery_seconds: float
    delayed_delivery_seconds: float


def read_config(environment: Environment) -> Config:
    """Read the settings, every fault noted in the environment."""
    return Config(
        common=CommonSettings.read(environment, service="shipping", grpc_port=50054, metrics_port=9054),
        carrier_rules=environment.json("SHIPPING_CARRIER_RULES", _DEFAULT_RULES, parse_rules),
        carrier_delay_seconds=(environment.whole("SHIPPING_CARRIER_DELAY_MS", 10, least=0, most=60_000) or 0) / 1000,
        carrier_timeout_seconds=environment.number("SHIPPING_CARRIER_TIMEOUT_SECONDS", 2.0, least=0.01, most=20.0),
        carrier_give_up_seconds=environment.number("SHIPPING_CARRIER_GIVE_UP_SECONDS", 20.0, least=0.0, most=86_400.0),
        delivery_seconds=environment.number("SHIPPING_DELIVERY_SECONDS", 2.0, least=0.0, most=2_592_000.0),
        delayed_delivery_seconds=environment.number("SHIPPING_DELAYED_DELIVERY_SECONDS", 4.0, least=0.0, most=2_592_000.0),
    )
