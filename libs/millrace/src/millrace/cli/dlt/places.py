"""Where the letters lie that a command is about: the stores and dead letter topics its words and the environment name."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from millrace.dead_letters import SUFFIX
from millrace.dead_letters.letter import Letters
from millrace.dead_letters.published import PublishedLetters
from millrace.dead_letters.stored import StoredLetters
from millrace.kafka.config import KafkaConfig
from millrace.settings import Environment, KafkaSettings
from millrace.store.open import open_store

_OWN = "MILLRACE_STORE_URL"
_PREFIX, _POSTFIX = "MILLRACE_", "_STORE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The places a command names: one store by its address, services by name, dead letter topics."""

    store: str = ""
    services: Sequence[str] = ()
    topics: Sequence[str] = ()


@contextmanager
def open_places(asked: Asked, ids: Sequence[str]) -> Iterator[list[Letters]]:
    """Give the places where the letters of these ids lie, or, without ids, those asked for; else every store the environment knows.

    Raises BadParameter for what names no place.
    """
    stores, topics = _stores(asked, known_stores(os.environ)), list(asked.topics)
    if ids:
        named = {letter_id: _place_of(letter_id) for letter_id in ids}
        topics = sorted({place for place in named.values() if place.endswith(SUFFIX)})
        stores = {name: _known(stores, name) for name in sorted(set(named.values()) - set(topics))}
    elif topics:
        stores = stores if asked.store or asked.services else {}
    elif not stores:
        raise typer.BadParameter(
            f"no store is named: give --store, --service or --from, or set {_OWN} or {_PREFIX}<SERVICE>{_POSTFIX}"
        )
    for topic in topics:
        if not topic.endswith(SUFFIX):
            raise typer.BadParameter(f"{topic!r} is no dead letter topic: their names end with {SUFFIX}")
    with ExitStack() as opened:
        places: list[Letters] = []
        for name, url in stores.items():
            places.append(_open_store(opened, name, url))
        if topics:
            kafka = kafka_settings()
            places += [PublishedLetters(topic, kafka) for topic in topics]
        yield places


def known_stores(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of stores by name: `store` for a service's own, and each MILLRACE_<SERVICE>_STORE_URL by the service."""
    others = {
        variable.removeprefix(_PREFIX).removesuffix(_POSTFIX).lower().replace("_", "-"): url
        for variable, url in environment.items()
        if variable.startswith(_PREFIX) and variable.endswith(_POSTFIX) and variable != _OWN and url
    }
    return others | ({"store": environment[_OWN]} if environment.get(_OWN) else {})


def _stores(asked: Asked, known: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of stores by name: those asked for, or all that are known."""
    if asked.store:
        return {"store": asked.store, **{name: _known(known, name) for name in asked.services}}
    if asked.services:
        return {name: _known(known, name) for name in asked.services}
    return dict(known)


def _known(stores: Mapping[str, str], name: str) -> str:
    if name in stores:
        return stores[name]
    if name == "store":
        raise typer.BadParameter(f"no store is named: give --store, or set {_OWN}")
    raise typer.BadParameter(f"the store of {name} is not known: set {_PREFIX}{name.upper().replace('-', '_')}{_POSTFIX}")


def _place_of(letter_id: str) -> str:
    """Return the store or topic a letter's id names."""
    topic, _, rest = letter_id.partition("/")
    store, _, seq = letter_id.rpartition(":")
    numbers = rest.split("/")
    if topic.endswith(SUFFIX) and len(numbers) == 2 and all(_is_number(number) for number in numbers):
        return topic
    if store and _is_number(seq):
        return store
    raise typer.BadParameter(f"{letter_id!r} is no letter's id, such as payment:17 or payment.request.dlt/0/4; `list` shows them")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 2**63


def _open_store(opened: ExitStack, name: str, url: str) -> Letters:
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.is_file():
        raise typer.BadParameter(f"there is no store at {path}")
    try:
        store = open_store(url, "millrace dlt")
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from None
    opened.callback(store.close)
    letters = StoredLetters(name, store)
    opened.callback(letters.close)
    return letters


def kafka_settings() -> KafkaConfig:
    """Return the way to Kafka that the environment names. Raises BadParameter with every fault in it."""
    environment = Environment()
    config = KafkaSettings.read(environment)
    if faults := environment.faults():
        raise typer.BadParameter("; ".join(f"{name}: {reason}" for name, reason in faults))
    return config
