"""The whole shop in one process, by a seed: its services' own code under crashes, delays, doubles and silence, and what must hold after.

`run.simulate` plays it, `checks.unfit` judges it. Nothing here is production code, and nothing of the services is replaced by it but what is
outside them: broker, threads, time, payment gateway, carrier and mail server. See docs/testing.md.
"""
