"""The use cases of the payment service, one a file, and the ports of what is outside."""
