"""Ends, or stops, the process of the tiny service of accounts at a named point: `python -m devkit.crash_points SIGNAL POINT PLACE`.

The points lie at the seams of the library (store, Kafka's clients, the call outside), which are wrapped here; the library knows nothing of
them. `before` and `after` a call of a part of the store count only where it has something to do. A SIGNAL of `SIGSTOP` is obeyed once.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer

from devkit.accounts import Place, make_call, service
from devkit.processes import ChildSpec
from millrace.kafka.producer import KafkaProducer
from millrace.observability.logs import configure_logging
from millrace.outbox import dispatch
from millrace.pipeline import consumer
from millrace.run import run
from millrace.store.contract import Lease, Session, Store, Transaction
from millrace.store.open import open_store

BATCH = (
    "after poll",
    "before positions.advance", "after positions.advance", "after message_ids.remember", "after events.append",
    "after outbox.add", "after effects.add", "before commit of a batch", "after commit of a batch",
)  # fmt: skip
OUTCOME = (
    "before call", "after call", "after effects.done", "before commit of an outcome", "after commit of an outcome",
)  # fmt: skip
OFFSETS = ("before commit of offsets", "after commit of offsets", "offsets committed")
RELAY = (
    "after send", "before outbox.delivered", "after outbox.delivered", "before commit of a delivery", "after commit of a delivery",
)  # fmt: skip

_KINDS = {"positions.advance": "a batch", "effects.done": "an outcome", "outbox.delivered": "a delivery"}

Reach = Callable[[str], None]


def process(place: Place, log_path: Path, point: str = "", sign: signal.Signals = signal.SIGKILL) -> ChildSpec:
    """Return what to start for the service to work at `place`, and to send itself `sign` at `point`, if one is given."""
    words = [sys.executable, "-m", "devkit.crash_points", sign.name, point, msgspec.json.encode(place).decode()]
    return ChildSpec(name=f"accounts to {sign.name} {point}" if point else "accounts", argv=words, log_path=log_path)


class _Watched:
    """One part of a transaction, whose calls are points."""

    def __init__(self, name: str, part: Any, reach: Reach, called: set[str]) -> None:
        self._name, self._part, self._reach, self._called = name, part, reach, called

    def __getattr__(self, method: str) -> Any:
        inner, name = getattr(self._part, method), f"{self._name}.{method}"

        def call(*args: Any, **more: Any) -> Any:
            if not all(len(arg) for arg in args if isinstance(arg, Sized)):
                return inner(*args, **more)
            self._called.add(name)
            self._reach(f"before {name}")
            result = inner(*args, **more)
            self._reach(f"after {name}")
            return result

        return call


@dataclass(frozen=True, slots=True)
class _WatchedSession:
    inner: Session
    reach: Reach

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        called: set[str] = set()
        with self.inner.transaction() as tx:
            parts: dict[str, Any] = {
                field.name: _Watched(field.name, getattr(tx, field.name), self.reach, called)
                for field in fields(tx)
                if field.name != "sql"
            }
            yield Transaction(sql=tx.sql, **parts)
            for name in called & _KINDS.keys():
                self.reach(f"before commit of {_KINDS[name]}")
        for name in called & _KINDS.keys():
            self.reach(f"after commit of {_KINDS[name]}")

    def close(self) -> None:
        self.inner.close()


class _WatchedLease:
    def __init__(self, inner: Lease, reach: Reach) -> None:
        self._inner = inner
        self.session = _WatchedSession(inner.session, reach)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _WatchedStore:
    def __init__(self, inner: Store, reach: Reach) -> None:
        self._inner, self._reach = inner, reach

    def session(self) -> Session:
        return _WatchedSession(self._inner.session(), self._reach)

    def try_lease(self, silence_seconds: float = 30.0) -> Any:
        lease = self._inner.try_lease(silence_seconds)
        return None if lease is None else _WatchedLease(lease, self._reach)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _at(sign: signal.Signals, point: str) -> Reach:
    """Return what obeys at `point`. Offsets count from the first batch on: what is committed before is what was found."""
    seen: set[str] = set()

    def reach(name: str) -> None:
        if name.endswith(("of offsets", "offsets committed")) and "after commit of a batch" not in seen:
            return
        if name == point and (name not in seen or sign is signal.SIGKILL):
            seen.add(name)
            print(f"{sign.name} {point}", flush=True)
            # To this very thread: sent to the process, another may take it, and this one goes on for a moment, into the next statement.
            signal.pthread_kill(threading.get_ident(), sign)
        seen.add(name)

    return reach


def _watch_clients(reach: Reach) -> None:
    class WatchedConsumer(Consumer):
        def __init__(self, config: dict[str, Any], **more: Any) -> None:
            tell = config["on_commit"]

            def on_commit(error: Any, partitions: Any) -> None:
                reach("offsets committed")
                tell(error, partitions)

            super().__init__({**config, "on_commit": on_commit}, **more)

        def poll(self, *args: Any, **more: Any) -> Any:
            message = super().poll(*args, **more)
            if message is not None and message.error() is None:
                reach("after poll")
            return message

        def commit(self, *args: Any, **more: Any) -> Any:
            reach("before commit of offsets")
            result = super().commit(*args, **more)
            reach("after commit of offsets")
            return result

    class WatchedProducer(KafkaProducer):
        def send(self, *args: Any, **more: Any) -> None:
            super().send(*args, **more)
            reach("after send")

    vars(consumer)["Consumer"] = WatchedConsumer
    vars(dispatch)["KafkaProducer"] = WatchedProducer


def _main(sign: str, point: str, place: str) -> None:
    configure_logging("accounts", "1")
    where = msgspec.json.decode(place, type=Place)
    reach = _at(signal.Signals[sign], point)
    _watch_clients(reach)
    call = make_call(where)

    async def watched(request: Any, effect_id: str) -> object:
        reach("before call")
        outcome = await call(request, effect_id)
        reach("after call")
        return outcome

    run(service(where, _WatchedStore(open_store(where.store_url), reach), watched))


if __name__ == "__main__":
    _main(*sys.argv[1:])
