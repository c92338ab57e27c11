"""Letters on a dead letter topic. Those of plain handlers lie nowhere else; of those parked in a store these are copies, to look at.

Nothing on a topic can be changed, so a decision is a note behind the letter. Redriven records go to their topic again, for the one handler
that failed; records and notes are one Kafka transaction, under an id of the topic's own, which fences whoever does the same meanwhile:
a letter is redriven once. Consumers that read uncommitted records may see more.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import islice

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millrace.dead_letters.copies import FOR, PARKED, PREFIX, SETTLES, SUFFIX, settling_headers, without_reasons
from millrace.dead_letters.letter import Letter, Wanted, header
from millrace.errors import Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.whole import read_whole
from millrace.message import Record

_SECONDS = 30.0
_DIGITS = 19  # what int64 holds; of more than 4300 Python makes no number


class PublishedLetters:
    """The letters of one dead letter topic that nothing was decided about yet."""

    def __init__(self, name: str, config: KafkaConfig) -> None:
        self.name = name
        self._config = config

    def find(self, wanted: Wanted, limit: int | None = None) -> list[Letter]:
        """Return the wanted letters, in the order of each partition. See `Letters`. Raises NotFound where the topic is not there."""
        return list(islice(filter(wanted.takes, self._open(keep_values=False).values()), limit))

    def get(self, letter_id: str) -> Letter | None:
        """Return one letter with all of its bytes. See `Letters`."""
        return self._open(keep_values=True).get(letter_id)

    def redrive(self, letters: list[Letter], by: str) -> int:
        """Send letters to their topics again, each for the handler that failed. See `Letters`."""

        def send_again(producer: Producer, letter: Letter, report: Callable[[KafkaError | None, Message], None]) -> None:
            record, handler = letter.record, letter.handler
            address = ((FOR, handler.encode()),) if handler else ()
            headers: list[tuple[str, str | bytes | None]] = [*without_reasons(record.headers), *address]
            producer.produce(record.topic, record.value, record.key, headers=headers, on_delivery=report)

        return self._settle(letters, "redriven", by, send_again)

    def discard(self, letters: list[Letter], by: str) -> int:
        """Give letters up. See `Letters`."""
        return self._settle(letters, "discarded", by, lambda producer, letter, report: None)

    def close(self) -> None:
        """Nothing is held open."""

    def _settle(self, letters: list[Letter], outcome: str, by: str, first: Callable[..., None]) -> int:
        """Do `first` for each letter, and note what became of it, all or nothing; return how many were still undecided.

        The letters are read once the transactional id is ours: what another decided is seen, and who decides meanwhile ends this.
        """
        refused: list[KafkaError] = []
        connection = ConnectionLog()
        settings = {"transactional.id": f"millrace-dlt-{self.name}", "message.timeout.ms": round(_SECONDS * 1000)}
        producer = Producer({**self._config.producer_settings(), **settings}, logger=connection)

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(error)

        try:
            producer.init_transactions(_SECONDS)
            chosen = {letter.id for letter in letters if not letter.parked}
            left = [letter for letter in self._open(keep_values=True).values() if letter.id in chosen]  # in each key's order
            producer.begin_transaction()
            for letter in left:
                first(producer, letter, report)
                settles, partition = _place(letter.id)
                note: list[tuple[str, str | bytes | None]] = [*settling_headers(settles, outcome, by)]
                producer.produce(self.name, b"", letter.record.key, partition, headers=note, on_delivery=report)
                producer.poll(0)
            producer.flush(_SECONDS)
            if refused:
                raise KafkaException(refused[0])
            producer.commit_transaction(_SECONDS)
        except (KafkaException, BufferError) as error:
            producer.poll(0)  # the client's log, too, is handed over while it is polled
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise Unavailable(connection.explain(f"nothing was {outcome}: {reason}")) from error
        return len(left)

    def _open(self, *, keep_values: bool) -> dict[str, Letter]:
        """Return the letters nothing was decided about, by their ids."""
        found: dict[str, tuple[str, Letter]] = {}
        settled: set[str] = set()
        for record, at in read_whole(self._config, self.name):
            if settles := header(record, SETTLES):
                settled.add(settles)
                continue
            if not keep_values:
                record = replace(record, value=None)  # noqa: PLW2901 - the same record without what nobody will look at
            letter_id = f"{self.name}/{record.partition}/{record.offset}"
            found[letter_id] = header(record, PARKED) or _place(letter_id)[0], letter_of(letter_id, record, at)
        return {letter_id: letter for letter_id, (name, letter) in found.items() if name not in settled}


def _place(letter_id: str) -> tuple[str, int]:
    """Return what a note calls a letter that lies here alone, and the partition the note belongs to."""
    _, partition, offset = letter_id.rsplit("/", 2)
    return f"{partition}/{offset}", int(partition)


def letter_of(letter_id: str, copy: Record, at: datetime) -> Letter:
    """Return a copy as a letter, its record where it once stood. Headers that a stranger left out are made up from the topic."""

    def number(name: str, otherwise: int) -> int:
        text = header(copy, PREFIX + name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else otherwise

    origin = Record(
        topic=header(copy, PREFIX + "topic") or copy.topic.removesuffix(SUFFIX),
        partition=number("partition", copy.partition),
        offset=number("offset", -1),
        key=copy.key,
        value=copy.value,
        headers=copy.headers,
    )
    return Letter(
        id=letter_id,
        state="dead",
        handler=header(copy, PREFIX + "handler"),
        record=origin,
        key="" if copy.key is None else copy.key.decode(errors="backslashreplace"),
        reason=header(copy, PREFIX + "error"),
        attempts=number("attempts", 1),
        at=at,
        parked=bool(header(copy, PARKED)),
    )
