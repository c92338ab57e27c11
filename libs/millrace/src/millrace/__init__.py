"""Messages, pipelines, event stores and sagas over Apache Kafka. `docs/architecture.md` is the way in."""
