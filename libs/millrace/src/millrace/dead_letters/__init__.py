"""Messages that nobody could handle: the copies of them on `<topic>.dlt`, and what people decide about them.

`copies` is what the pipeline, the Router and the dead letter middleware use. The rest serves `millrace dlt`: a `Letter` is what a person
sees of one, whether it is parked in a store (`stored`) or lies on a dead letter topic alone (`published`).
"""

from millrace.dead_letters.copies import FOR, PARKED, SUFFIX, RawHeaders, addressee, dead_letter, parked_name, reason_headers

__all__ = ["FOR", "PARKED", "SUFFIX", "RawHeaders", "addressee", "dead_letter", "parked_name", "reason_headers"]
