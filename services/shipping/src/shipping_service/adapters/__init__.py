"""What keeps the ports of the shipping service: read models and the simulated external part."""
