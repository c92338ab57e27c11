"""One order is one trace: from the call that placed it, through every topic, to what the last of its messages led to."""

from collections.abc import Callable, Mapping

import pytest

from devkit.collector import SeenSpan, TraceCollector
from devkit.services import SERVICES
from devkit.stack import Stack
from millrace.message import CORRELATION_ID, TRACEPARENT
from millrace.testing.waiting import eventually
from shopkit.testing.books import messages_unfit
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import place, wait_settled
from shopkit.testing.outcomes import HAPPY
from shopkit.testing.records import Seen, read_all, topic_names
from shopkit.topics import GROUPS

pytestmark = pytest.mark.servers


def trace_of(message: Seen) -> str:
    return message.text(TRACEPARENT)[3:35]


def handlings(messages: list[Seen]) -> set[tuple[str, str]]:
    """Return service and message id of everything that somebody has to handle."""
    return {(f"{group.service}-service", seen.id) for group in GROUPS for seen in messages if seen.topic in group.topics}


def handled(spans: list[SeenSpan]) -> set[tuple[str, str]]:
    return {(s.service, s.attributes["messaging.message.id"]) for s in spans if s.kind == "SPAN_KIND_CONSUMER"}


def test_an_order_is_one_trace_from_the_call_to_the_handling_of_its_last_message(
    trace_collector: TraceCollector,
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> None:
    export = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": trace_collector.endpoint,
        "OTEL_TRACES_SAMPLER_ARG": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    stack = shop_stack(env={**quick_settings, "*": {**quick_settings["*"], **export}})
    shop = connect(stack)
    placed = place(shop, HAPPY)
    wait_settled(shop, [placed])

    def of_order() -> list[Seen]:
        return [seen for seen in read_all(stack.bootstrap, topic_names()) if seen.key == placed.order_id.encode()]

    eventually(lambda: not messages_unfit(of_order(), HAPPY), 20, lambda: messages_unfit(of_order(), HAPPY))
    trace = trace_of(of_order()[0])
    assert {(seen.type, trace_of(seen)) for seen in of_order()} == {(name, trace) for name in HAPPY.all_messages}
    assert len({seen.text(CORRELATION_ID) for seen in of_order()}) == 1
    of_trace = [seen for seen in read_all(stack.bootstrap, topic_names()) if trace_of(seen) == trace]
    to_handle = handlings(of_trace)

    def spans() -> list[SeenSpan]:
        return [span for span in trace_collector.spans if span.trace_id == trace]

    def parentless() -> list[SeenSpan]:
        there = {span.span_id for span in spans()}
        return [span for span in spans() if span.parent_id not in there]

    eventually(lambda: handled(spans()) == to_handle, 30, lambda: handled(spans()) ^ to_handle)
    eventually(lambda: len(parentless()) == 1, 30, parentless)
    (root,) = parentless()
    assert (root.service, root.name, root.kind) == ("order-service", "shop.order.v1.OrderService/PlaceOrder", "SPAN_KIND_SERVER")
    assert root.parent_id == ""
    assert {span.service for span in spans()} == {f"{service}-service" for service in SERVICES}
