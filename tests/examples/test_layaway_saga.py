"""The example saga on the test kit: an hour's deadline passes in milliseconds, and every way it can end is seen."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from layaway_saga import HANDLERS, LAYAWAYS, REGISTRY, REPLY_TOPICS, SetAside

from millrace.saga import SagaStatus
from millrace.testing.world import ServiceSpec, World, WorldService
from shop.inventory.v1.inventory_messages_pb2 import (
    ReleaseStockCommand,
    ReserveStockCommand,
    StockReleasedEvent,
    StockReservedEvent,
)
from shop.payment.v1.payment_messages_pb2 import (
    ChargePaymentCommand,
    PaymentChargedEvent,
    PaymentRefundedEvent,
    RefundPaymentCommand,
)

ORDER = "layaway-1"


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def layaways(world: World) -> WorldService:
    spec = ServiceSpec(name="layaways", topics=REPLY_TOPICS, reply_topics=REPLY_TOPICS, handlers=HANDLERS, registry=REGISTRY)
    return world.add(spec)


def begun(world: World, layaways: WorldService) -> None:
    """Set goods aside, so that the payment is waited for."""
    layaways.order(ORDER, SetAside(ORDER))
    world.settle()
    assert [command.order_id for command in world.published(ReserveStockCommand)] == [ORDER]
    world.publish(StockReservedEvent(order_id=ORDER))
    world.settle()
    assert [command.order_id for command in world.published(ChargePaymentCommand)] == [ORDER]


def status(layaways: WorldService) -> SagaStatus:
    return layaways.state(LAYAWAYS, ORDER).status


def test_a_payment_within_the_hour_completes_it(world: World, layaways: WorldService) -> None:
    begun(world, layaways)
    world.skip(timedelta(minutes=59))
    world.publish(PaymentChargedEvent(order_id=ORDER))
    world.skip(timedelta(days=1))
    assert status(layaways) is SagaStatus.COMPLETED
    assert world.published(ReleaseStockCommand) == []


def test_without_a_payment_the_goods_go_back_when_the_hour_is_over(world: World, layaways: WorldService) -> None:
    begun(world, layaways)
    world.skip(timedelta(minutes=59, seconds=59))
    assert status(layaways) is SagaStatus.RUNNING
    world.skip(timedelta(seconds=1))
    assert [command.reason for command in world.published(RefundPaymentCommand)] == ["payment gave no answer"]
    world.publish(PaymentRefundedEvent(order_id=ORDER), StockReleasedEvent(order_id=ORDER))
    world.settle()
    world.publish(StockReleasedEvent(order_id=ORDER))
    world.settle()
    assert status(layaways) is SagaStatus.COMPENSATED


def test_goods_nobody_answers_for_are_asked_for_again_with_longer_waits(world: World, layaways: WorldService) -> None:
    layaways.order(ORDER, SetAside(ORDER))
    for seconds, asked in ((9, 1), (1, 2), (19, 2), (1, 3)):
        world.skip(timedelta(seconds=seconds))
        assert len(world.published(ReserveStockCommand)) == asked


def test_a_payment_that_the_process_does_not_live_to_see_is_taken_by_its_next_life(world: World, layaways: WorldService) -> None:
    begun(world, layaways)
    world.skip(timedelta(minutes=30))
    layaways.crash()
    world.publish(PaymentChargedEvent(order_id=ORDER))
    world.skip(timedelta(hours=2))
    assert layaways.crashes == 1
    assert status(layaways) is SagaStatus.COMPLETED
