"""The gRPC edge: how a service is called, and how it calls others.

`server` and `client` are the two ways in. Everything between them is one idea a file, joined by `middleware`. Nothing here knows
what a service does; nothing below the edge imports it.
"""
