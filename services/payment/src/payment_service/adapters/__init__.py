"""What keeps the ports of the payment service: read models and the simulated external part."""
