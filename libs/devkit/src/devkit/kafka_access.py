"""How a Kafka that is given, not started here, is reached: read from the environment, and handed on to the services of a stack."""

import os

from millrace.kafka import KafkaConfig
from millrace.settings import KafkaSettings, load

_SECURITY = {
    "PROTOCOL": "security_protocol",
    "CA_FILE": "tls_ca_file",
    "CERTIFICATE_FILE": "tls_certificate_file",
    "KEY_FILE": "tls_key_file",
    "SASL_MECHANISM": "sasl_mechanism",
    "SASL_USERNAME": "sasl_username",
    "SASL_PASSWORD": "sasl_password",
}


def given_kafka() -> KafkaConfig | None:
    """Return the Kafka that MILLRACE_KAFKA_* name; None where no address is set.

    Settings that make no sense are reported as a service reports them: all together, exit code 2.
    """
    return load(KafkaSettings.read) if os.environ.get("MILLRACE_KAFKA_BOOTSTRAP") else None


def kafka_environment(config: KafkaConfig) -> dict[str, str]:
    """Return the variables by which a service reaches Kafka so; empty ones undo what this process's environment says of another."""
    security = {f"MILLRACE_KAFKA_SECURITY_{name}": str(getattr(config, field)) for name, field in _SECURITY.items()}
    return {"MILLRACE_KAFKA_BOOTSTRAP": config.bootstrap, **security}
