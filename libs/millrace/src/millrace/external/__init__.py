"""Calls to parts outside the shop (payment gateway, mail, carrier): breaker, retry budget and deadlines around a plain coroutine."""
