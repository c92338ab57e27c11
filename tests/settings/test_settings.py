"""Settings come from the environment, all faults are reported together, and secrets stay secret."""

from pathlib import Path

import pytest

from millrace.kafka.config import KafkaConfig
from millrace.settings import EdgeSettings, Environment, KafkaSettings, Secret, StoreSettings, TelemetrySettings, load

PREFIX = "MILLRACE_KAFKA_SECURITY_"


def _all(environment: Environment) -> tuple[StoreSettings, KafkaConfig, EdgeSettings, TelemetrySettings]:
    return (
        StoreSettings.read(environment),
        KafkaSettings.read(environment),
        EdgeSettings.read(environment, address="127.0.0.1:50051"),
        TelemetrySettings.read(environment, metrics_address="127.0.0.1:9051", instance="order-1"),
    )


def test_defaults_need_only_store_and_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STORE_URL", "postgresql://shop:geheim@db/order")
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "a:9092, b:9092")
    store, kafka, edge, telemetry = load(_all)
    assert store.url.reveal().endswith("@db/order")
    assert kafka == KafkaConfig("a:9092, b:9092")
    assert edge.config.address == "127.0.0.1:50051"
    assert telemetry.instance == "order-1"
    assert "geheim" not in repr((store, kafka, edge, telemetry))


def test_all_faults_are_reported_together_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_STORE_URL", "mysql://db/x")
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "nonsense")
    monkeypatch.setenv(PREFIX + "PROTOCOL", "SASL_SSL")
    monkeypatch.setenv(PREFIX + "CA_FILE", "/does/not/exist.pem")
    monkeypatch.setenv(PREFIX + "CERTIFICATE_FILE", __file__)
    monkeypatch.setenv("MILLRACE_GRPC_MAX_CALLS", "many")
    monkeypatch.setenv("MILLRACE_GRPC_DRAIN_SECONDS", "-1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "2")
    with pytest.raises(SystemExit) as caught:
        load(_all)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.strip().split(":")[0] for line in lines[1:]) == sorted(
        [
            "MILLRACE_STORE_URL",
            "MILLRACE_KAFKA_BOOTSTRAP",
            PREFIX + "CA_FILE",
            PREFIX + "KEY_FILE",
            PREFIX + "SASL_MECHANISM",
            PREFIX + "SASL_USERNAME",
            PREFIX + "SASL_PASSWORD",
            "MILLRACE_GRPC_MAX_CALLS",
            "MILLRACE_GRPC_DRAIN_SECONDS",
            "OTEL_TRACES_SAMPLER_ARG",
        ]
    )


@pytest.mark.parametrize("ratio", ["2", "-0.1", "often", "nan"])
def test_a_ratio_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, ratio: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    environment = Environment()
    TelemetrySettings.read(environment, metrics_address="127.0.0.1:9051", instance="order-1")
    assert [name for name, _ in environment.faults()] == ["OTEL_TRACES_SAMPLER_ARG"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("MILLRACE_STORE_URL", "MILLRACE_KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit):
        load(_all)
    said = capsys.readouterr().err
    assert "MILLRACE_STORE_URL" in said
    assert "MILLRACE_KAFKA_BOOTSTRAP" in said


def test_tls_and_sasl_reach_the_kafka_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "a:9093")
    monkeypatch.setenv(PREFIX + "PROTOCOL", "SASL_SSL")
    monkeypatch.setenv(PREFIX + "CA_FILE", str(ca))
    monkeypatch.setenv(PREFIX + "SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv(PREFIX + "SASL_USERNAME", "order")
    monkeypatch.setenv(PREFIX + "SASL_PASSWORD", "geheim")
    kafka = load(KafkaSettings.read)
    assert kafka == KafkaConfig(
        "a:9093",
        security_protocol="SASL_SSL",
        tls_ca_file=str(ca),
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="order",
        sasl_password="geheim",
    )
    assert "geheim" not in repr(kafka)


def test_a_bug_in_the_reading_is_not_taken_for_a_bad_setting() -> None:
    def broken(environment: Environment) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        load(broken)


def test_json_that_does_not_fit_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RULES", '{"no": "list"}')

    def rules(environment: Environment) -> list[str]:
        return environment.json("RULES", "[]", lambda found: [rule["then"] for rule in found])

    with pytest.raises(SystemExit):
        load(rules)
    assert "RULES: does not fit" in capsys.readouterr().err


def test_a_secret_shows_itself_to_nobody() -> None:
    assert "geheim" not in f"{Secret('geheim')} {Secret('geheim')!r}"


@pytest.mark.parametrize("url", ["memory://", "sqlite:///", "sqlite://host/x", "postgresql://db", "mysql://db/x", "order.db"])
def test_a_service_takes_only_a_store_that_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("MILLRACE_STORE_URL", url)
    with pytest.raises(SystemExit):
        load(StoreSettings.read)
    assert "MILLRACE_STORE_URL: must be sqlite:///path or postgresql://" in capsys.readouterr().err


def test_how_long_a_killed_consumer_is_waited_for_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "a:9092")
    monkeypatch.setenv("MILLRACE_KAFKA_SESSION_TIMEOUT_SECONDS", "3")
    settings = load(KafkaSettings.read).consumer_settings("group")
    assert settings["session.timeout.ms"] == 3000
    assert int(settings["heartbeat.interval.ms"]) * 3 <= 3000
