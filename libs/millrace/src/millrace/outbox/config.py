"""How the relay is tuned. Read by the relay and its parts; every value has a default that suits a service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """How often the relay looks without being woken, how much it takes at a time, and how long it leaves alone what does not go out.

    Woken often, it begins a round `pace_seconds` after the one before at the earliest: rows that trickle in go out together.
    A round waits `round_seconds` for its reports; what takes longer (a partition without a leader) goes on meanwhile, and holds up its own
    keys only. Messages refused for good are tried again every `refused_seconds`: a limit may be raised. A topic that takes no messages is
    asked for again every `held_seconds`; so is one of whose keys more are refused than `max_refused` of all topics together.
    A leader that the database hears nothing of for `silence_seconds`, since its process is stopped perhaps, has another take over.
    """

    sweep_seconds: float = 1.0
    pace_seconds: float = 0.015
    max_batch: int = 1000
    round_seconds: float = 0.2
    refused_seconds: float = 60.0
    probe_seconds: float = 5.0
    held_seconds: float = 5.0
    max_refused: int = 4000
    silence_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Raises ValueError where what is left out of a look at the outbox could become more than one statement takes."""
        if 5 * self.max_batch + self.max_refused > 9_500:
            raise ValueError("5 * max_batch + max_refused must be at most 9500")
