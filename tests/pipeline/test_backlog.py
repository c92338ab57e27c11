"""The metrics of what waits in the store are what is there, as of the last look."""

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from millrace.decision import Decision, Effect
from millrace.pipeline.backlog import Backlog


def shown(world: Any) -> dict[str, float | None]:
    names = ("outbox_messages", "outbox_oldest_seconds", "effects_pending")
    return {name: REGISTRY.get_sample_value(f"millrace_{name}", {"group": world.group}) for name in names}


def test_the_outbox_its_oldest_message_and_the_pending_effects_are_shown(world: Any) -> None:
    look = Backlog(world.engine, every_seconds=0)
    look(world.session)
    assert shown(world) == {"outbox_messages": 0, "outbox_oldest_seconds": 0, "effects_pending": 0}
    world.scripts["calls"] = lambda body, states, context: Decision(effects=[Effect("e", world.Call(body.order_id))])
    world.process(world.record(world.message("a")), world.record(world.message("b", does="calls")))
    world.clock.skip(timedelta(seconds=90))
    world.process(world.record(world.message("c")))
    world.clock.skip(timedelta(seconds=10))
    look(world.session)
    assert shown(world) == {"outbox_messages": 2, "outbox_oldest_seconds": 100, "effects_pending": 1}
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(1), 0)
        tx.effects.done(["e"])
    look(world.session)
    assert shown(world) == {"outbox_messages": 1, "outbox_oldest_seconds": 10, "effects_pending": 0}


def test_it_looks_no_more_often_than_told(world: Any) -> None:
    look = Backlog(world.engine, every_seconds=600)
    look(world.session)
    world.process(world.record(world.message("a")))
    look(world.session)
    assert shown(world)["outbox_messages"] == 0
