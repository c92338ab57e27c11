"""Runs one service: its edge, its pipeline and its relay, from start to an orderly end.

A broker or database that is away at the start is waited for, with health saying so. SIGTERM or SIGINT: health says NOT_SERVING, calls in
hand finish, the batch in hand commits, the group is left, the outbox is flushed, telemetry is sent, and the process ends.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_exception, retry_if_exception_type, wait_exponential

from millrace.clock import micros, utc_now
from millrace.edge.server import EdgeServer
from millrace.errors import TransientError
from millrace.inbox.message_ids import KEEP_DAYS
from millrace.kafka.config import KafkaConfig
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.relay import Relay
from millrace.pipeline.backlog import Backlog
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.pipeline.engine import Engine
from millrace.pipeline.hearing import Hearing, broadcast_of
from millrace.pipeline.queries import Queries
from millrace.pipeline.reactors import Reactor, Reactors
from millrace.store.contract import Store
from millrace.store.faults import Fault, classify

log = logging.getLogger(__name__)
_MAINTENANCE_SECONDS = 3600.0
_AWAITED_SECONDS = 0.1
_GC_OBJECTS = 20_000


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a service is made of, put together in its `bootstrap.py`.

    `prepare` runs once the schema is up to date and before anything is consumed: seeding, for instance. `awaited` names what must have
    come about before calls can be served, such as something read from Kafka: asked ten times a second, from the start of consuming on,
    until it is true, and reported to health under its name. `hearing` is told to this instance, whichever one handles it. `at_end` is called last: sending what is left of the traces, for instance.
    """

    name: str
    store: Store
    kafka: KafkaConfig
    engine: Engine
    commands: CommandThread
    queries: Queries
    health: Health
    edge: EdgeServer
    consumer: ConsumerConfig
    reactors: Mapping[type, Reactor] = field(default_factory=dict)
    migrations: Sequence[Path] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    awaited: Mapping[str, Callable[[], Awaitable[bool]]] = field(default_factory=dict)
    hearing: Sequence[Hearing] = ()
    at_end: Sequence[Callable[[], object]] = ()
    relay: RelayConfig = field(default_factory=RelayConfig)


def run(service: Service) -> None:
    """Run a service until SIGTERM or SIGINT."""
    gc.freeze()  # what was imported stays: looked through for garbage again and again, it took a tenth of the CPU time
    gc.set_threshold(_GC_OBJECTS)
    asyncio.run(_run(service))


async def _run(service: Service) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service.health.report("database", False, "not reached yet")
    service.health.report("kafka", False, "not reached yet")
    for name in service.awaited:
        service.health.report(name, False, "not there yet")
    await service.edge.start()
    try:
        starting = asyncio.ensure_future(_migrated(service))
        waiting: asyncio.Future[object] = asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await _work(service, waiting)
        else:
            starting.cancel()
    finally:
        await service.edge.drain()
        service.queries.close()
        service.store.close()
        for end in service.at_end:
            end()
    log.info("service ended", extra={"service": service.name})


async def _migrated(service: Service) -> None:
    """Bring the schema up to date, waiting for a database that is away."""

    def migrate() -> None:
        service.store.migrate(*service.migrations)
        _maintain(service)

    def is_away(error: BaseException) -> bool:
        if classify(error) is not Fault.AWAY:
            return False
        service.health.report("database", False, str(error))
        log.warning("waiting for the database", extra={"reason": str(error)})
        return True

    async for attempt in AsyncRetrying(retry=retry_if_exception(is_away), wait=wait_exponential(0.2, 5)):
        with attempt:
            await asyncio.to_thread(migrate)
    service.health.report("database", True)


def _maintain(service: Service) -> None:
    session = service.store.session()
    try:
        with session.transaction() as tx:
            tx.message_ids.maintain(utc_now())
            tx.parked.forget(micros(utc_now() - timedelta(days=KEEP_DAYS)))
    finally:
        session.close()


async def _work(service: Service, waiting: "asyncio.Future[object]") -> None:
    relay = Relay(service.relay, service.kafka, service.store, service.health, service.engine.metrics, service.engine.clock)
    consumer = PipelineConsumer(service.consumer, service.kafka, service.engine, service.store, service.health)
    reactors = Reactors(service.reactors, service.engine, service.commands)
    broadcasts = [broadcast_of(hearing, service.kafka, service.engine) for hearing in service.hearing]
    service.engine.listen(lambda committed: relay.wake() if committed.published else None)
    service.commands.every_second(Backlog(service.engine))
    service.engine.metrics.parked_limit(service.consumer.max_parked)
    service.commands.start()
    reactors.start()
    relay.start()
    for broadcast in broadcasts:
        broadcast.start()
    arriving: asyncio.Future[object] = asyncio.ensure_future(_arrived(service))
    try:
        await _prepared(service, waiting)
        consumer.start()
        log.info("service started", extra={"service": service.name})
        while not waiting.done():
            ends = {waiting} if arriving.done() else {waiting, arriving}
            done, _ = await asyncio.wait(ends, timeout=_MAINTENANCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if arriving in done:
                arriving.result()
            if not done:
                await _maintain_now(service)
    finally:
        log.info("service ends", extra={"service": service.name})
        arriving.cancel()
        await service.edge.drain()
        await asyncio.to_thread(consumer.stop)
        await reactors.stop()
        await asyncio.to_thread(service.commands.stop)
        await asyncio.to_thread(relay.stop)
        for broadcast in broadcasts:
            await asyncio.to_thread(broadcast.stop)


async def _prepared(service: Service, waiting: "asyncio.Future[object]") -> None:
    """Prepare the store, as often as it takes while the database is away; give up when the service is to end."""
    prepare = service.prepare
    if prepare is None:
        return

    async def work() -> None:
        async for attempt in AsyncRetrying(retry=retry_if_exception_type(TransientError), wait=wait_exponential(0.2, 5)):
            with attempt:
                await prepare()

    preparing = asyncio.ensure_future(work())
    await asyncio.wait((preparing, waiting), return_when=asyncio.FIRST_COMPLETED)
    if preparing.done():
        preparing.result()
    else:
        preparing.cancel()


async def _arrived(service: Service) -> None:
    """Report what is awaited as it comes about; return once nothing is. Raises what is no TransientError."""
    left = dict(service.awaited)
    while left:
        for name, is_there in tuple(left.items()):
            with suppress(TransientError):
                if await is_there():
                    del left[name]
                    service.health.report(name, True)
        await asyncio.sleep(_AWAITED_SECONDS)


async def _maintain_now(service: Service) -> None:
    try:
        await asyncio.to_thread(_maintain, service)
    except Exception:
        log.exception("maintenance failed")
