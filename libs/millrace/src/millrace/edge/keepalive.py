"""Keepalive of both sides, in one place because they must agree.

A server answers pings that come more often than it permits with GOAWAY "too_many_pings", by default all under 5 minutes.
Source: gRFC A8 and A9, grpc/doc/keepalive.md.
"""

from dataclasses import dataclass

from millrace.errors import FieldViolation, Invalid


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Each side pings after `seconds` of silence and gives the peer up after `timeout_seconds`.

    Servers permit a ping every `permitted_seconds`, idle or not. Raises Invalid when clients would ping more often than that.
    """

    seconds: float = 30.0
    timeout_seconds: float = 10.0
    permitted_seconds: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.permitted_seconds < self.seconds:
            raise Invalid([FieldViolation("permitted_seconds", "must be above 0 and below `seconds`, which clients ping after")])
        if self.timeout_seconds <= 0:
            raise Invalid([FieldViolation("timeout_seconds", "must be above 0")])

    def client_options(self) -> list[tuple[str, int]]:
        """Return a channel's options. Idle channels are not pinged: the next call finds out."""
        return [*self._options(), ("grpc.keepalive_permit_without_calls", 0)]

    def server_options(self) -> list[tuple[str, int]]:
        """Return a server's options."""
        return [
            *self._options(),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", int(self.permitted_seconds * 1000)),
        ]

    def _options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.keepalive_time_ms", int(self.seconds * 1000)),
            ("grpc.keepalive_timeout_ms", int(self.timeout_seconds * 1000)),
            # By default gRPC goes quiet after two pings without data, and a silent stream would never learn that its peer is gone.
            ("grpc.http2.max_pings_without_data", 0),
        ]
