"""Faults in the configuration are named together, and the settings of the promises are always there."""

from pathlib import Path

import pytest

from millrace.errors import Invalid
from millrace.kafka import KafkaConfig


def fields(caught: pytest.ExceptionInfo[Invalid]) -> set[str]:
    return {violation.field for violation in caught.value.violations}


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        KafkaConfig(
            "localhost,broker:99999",
            security_protocol="SASL_SSL",
            tls_ca_file="/no/such/file",
            tls_key_file="/no/such/key",
            sasl_mechanism="MAGIC",
            message_timeout_seconds=0,
            metadata_seconds=0,
            max_poll_interval_seconds=5.9,
        )
    assert fields(caught) == {
        "bootstrap",
        "tls_ca_file",
        "tls_key_file",
        "sasl_mechanism",
        "sasl_username",
        "sasl_password",
        "message_timeout_seconds",
        "metadata_seconds",
        "max_poll_interval_seconds",
    }


@pytest.mark.parametrize("protocol", ["plaintext", "", "TLS"])
def test_an_unknown_protocol_is_refused(protocol: str) -> None:
    with pytest.raises(Invalid) as caught:
        KafkaConfig("localhost:9092", security_protocol=protocol)
    assert fields(caught) == {"security_protocol"}


def test_an_unknown_group_protocol_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        KafkaConfig("localhost:9092", group_protocol="eager")
    assert fields(caught) == {"group_protocol"}


def test_what_the_broker_decides_under_the_consumer_protocol_is_left_to_it_and_the_rest_holds() -> None:
    classic, consumer = (
        KafkaConfig("a:1", max_poll_interval_seconds=60, group_protocol=protocol).consumer_settings("g")
        for protocol in ("classic", "consumer")
    )
    assert classic.keys() - consumer.keys() == {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}
    assert consumer.keys() <= classic.keys()
    assert consumer["group.protocol"] == "consumer"
    assert consumer["max.poll.interval.ms"] == classic["max.poll.interval.ms"] == 60_000


def test_a_member_is_static_only_by_a_name() -> None:
    assert "group.instance.id" not in KafkaConfig("a:1").consumer_settings("g")
    assert KafkaConfig("a:1", group_instance_id="pod-0").consumer_settings("g")["group.instance.id"] == "pod-0"


def test_credentials_that_the_protocol_would_ignore_are_refused(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("-")
    with pytest.raises(Invalid) as caught:
        KafkaConfig("localhost:9092", tls_ca_file=str(ca), sasl_username="me")
    assert len(caught.value.violations) == 2


def test_the_password_is_never_shown() -> None:
    config = KafkaConfig(
        "localhost:9092", security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="me", sasl_password="s3cret"
    )
    assert "s3cret" not in repr(config)
    assert config.client_settings()["sasl.password"] == "s3cret"


def test_tls_and_sasl_reach_every_client(tmp_path: Path) -> None:
    ca, certificate, key = (str(tmp_path / name) for name in ("ca", "certificate", "key"))
    for file in (ca, certificate, key):
        Path(file).write_text("-")
    config = KafkaConfig(
        "a:1,[::1]:2",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="me",
        sasl_password="s3cret",
        tls_ca_file=ca,
        tls_certificate_file=certificate,
        tls_key_file=key,
    )
    for settings in (config.client_settings(), config.producer_settings(), config.consumer_settings("g")):
        assert settings["security.protocol"] == "SASL_SSL"
        assert settings["ssl.ca.location"] == ca
        assert settings["ssl.certificate.location"] == certificate
        assert settings["ssl.key.location"] == key
        assert settings["sasl.mechanism"] == "SCRAM-SHA-512"


def test_the_settings_the_promises_rest_on() -> None:
    config = KafkaConfig("localhost:9092")
    producer, consumer = config.producer_settings(), config.consumer_settings("g")
    assert (producer["acks"], producer["enable.idempotence"], producer["partitioner"]) == ("all", True, "murmur2_random")
    assert producer["message.timeout.ms"] == 5000
    assert (consumer["enable.auto.commit"], consumer["enable.auto.offset.store"]) == (False, False)
    assert (consumer["partition.assignment.strategy"], consumer["auto.offset.reset"]) == ("cooperative-sticky", "earliest")
