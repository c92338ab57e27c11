"""The use cases of the shipping service, one a file, and the ports of what is outside."""
