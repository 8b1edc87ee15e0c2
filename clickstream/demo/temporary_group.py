"""A temporary consumer group, separate from the demo's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from clickstream.errors import ServerError
from clickstream.kafka import offsets, topics
from clickstream.settings import Settings


@contextmanager
def temporary_group(settings: Settings, purpose: str, *, newest: int) -> Iterator[Settings]:
    """Yield the same settings with another group, and delete the group after the block.

    Without permission to delete it, Kafka expires it later.

    Args:
        settings: the target; the topic must exist.
        purpose: a word that is appended to the group's name.
        newest: about how many of the newest messages the group reads.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    group_id = f"{settings.kafka.group_id}-{purpose}-{uuid.uuid4().hex[:8]}"
    own = settings.for_group(group_id)
    offsets.start_at_newest(own.kafka, newest)
    try:
        yield own
    finally:
        with suppress(ServerError):
            topics.delete_group(own.kafka)
