"""`millrace dlt`: dead letters, those parked in services' stores and those on dead letter topics. See `docs/dead-letters.md`.

`commands` is what is typed, `places` finds where the letters lie, `choosing` which are meant, `showing` prints them.
"""
