"""Analytics' settings, from the environment alone."""

from dataclasses import dataclass

from millrace.settings import Environment
from shopkit.service import CommonSettings


@dataclass(frozen=True, slots=True)
class Config:
    """Everything analytics is told: what all services are."""

    common: CommonSettings


def read_config(environment: Environment) -> Config:
    """Read the settings all services share."""
    return Config(CommonSettings.read(environment, service="analytics", grpc_port=50056, metrics_port=9056))
