"""The demo, `python -m shopkit.demo`: the whole shop on a real broker, every outcome of an order, what each service holds at the end.

It needs the workspace (`devkit` starts the processes), and talks to the services over gRPC alone, as any client would.
"""
