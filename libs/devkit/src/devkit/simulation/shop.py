"""Puts the six services into a world, each as its bootstrap does, with the companies outside in place of the simulators."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from unittest.mock import patch

from prometheus_client import CollectorRegistry

import analytics_service.bootstrap
import inventory_service.bootstrap
import inventory_service.config
import notification_service.bootstrap
import order_service.bootstrap
import order_service.config
import payment_service.bootstrap
import payment_service.config
import shipping_service.bootstrap
import shipping_service.config
from devkit.simulation.edge import DirectEdge
from devkit.simulation.outside import Bank, Once, Postbox, Van
from millrace.decision import Handlers
from millrace.settings import Environment
from millrace.testing.world import ServiceSpec, World, WorldService
from notification_service.application.set_contact import SetContact
from payment_service.application.call_gateway import CallGateway
from shipping_service.application.call_carrier import CallCarrier
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

C = TypeVar("C")
PRICES: Final = {"teapot": 2499, "kettle": 4999, "mug": 899, "rare-vase": 19999, "anvil": 9999, "piano": 99999}
# A parcel is days under way: an order given up meanwhile is called back in time, however long its services were away.
_DELIVERY: Final = {"SHIPPING_DELIVERY_SECONDS": "86400", "SHIPPING_DELAYED_DELIVERY_SECONDS": "259200"}


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop in a world: each service by its name, and the order service's edge."""

    world: World
    services: dict[str, WorldService]
    edge: DirectEdge
    on_hand: dict[str, int]


def open_shop(world: World, bank: Bank, van: Van, postbox: Postbox, contacts: Sequence[SetContact], vases: int) -> Shop:
    """Start all six, with stock of everything but vases, of which there are few."""
    on_hand = {item_id: vases if item_id == "rare-vase" else 10_000_000 for item_id in PRICES}
    seed = [
        {"item_id": item_id, "name": item_id, "currency": "EUR", "price_minor": price, "on_hand": on_hand[item_id]}
        for item_id, price in PRICES.items()
    ]
    once, figures = Once(), CollectorRegistry()
    gateway = CallGateway(bank, once, once, world.clock)
    carrier = CallCarrier(van, once, once, world.clock)
    all_parts = (
        order_service.bootstrap.parts(settings_of(order_service.config.Config.read)),
        payment_service.bootstrap.parts(settings_of(payment_service.config.read_config), calls=gateway),
        inventory_service.bootstrap.parts(
            settings_of(inventory_service.config.read_config, INVENTORY_SEED=json.dumps(seed)).seed
        ),
        shipping_service.bootstrap.parts(settings_of(shipping_service.config.read_config, **_DELIVERY), calls=carrier),
        notification_service.bootstrap.parts(postbox, contacts, figures),
        analytics_service.bootstrap.parts(),
    )
    services = {parts.name: world.add(spec_of(parts)) for parts in all_parts}
    for parts in all_parts:
        if parts.prepare is not None:
            service = services[parts.name]
            service.wait_for(parts.prepare(Commands(service), service.queries))
    order = services["order"]
    return Shop(world, services, DirectEdge(all_parts[0].rpc(Commands(order), order.queries)), on_hand)


def spec_of(parts: Parts) -> ServiceSpec:
    """Return a service for a world, as `shopkit.service.assemble` makes one for a process."""
    group = group_of(parts.name)
    return ServiceSpec(
        name=group.id,
        topics=group.topics,
        handlers=Handlers(parts.stream_types, parts.handlers),
        registry=parts.registry,
        projections=parts.projections,
        reactors=parts.reactors,
        reply_topics=parts.reply_topics,
        migrations=() if parts.migrations is None else (parts.migrations,),
        source=f"/shop/{parts.name}",
    )


def settings_of(read: Callable[[Environment], C], **variables: str) -> C:
    """Return a service's settings, with their defaults but for `variables`."""
    nowhere = {"MILLRACE_STORE_URL": "sqlite:///not-used", "MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    with patch.dict(os.environ, nowhere | variables, clear=True):
        environment = Environment()
        settings = read(environment)
    assert environment.faults() == []
    return settings
