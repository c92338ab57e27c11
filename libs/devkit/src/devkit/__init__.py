"""Real Kafka, real PostgreSQL and the shop, as children of the process that asks for them."""
