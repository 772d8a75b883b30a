"""Where reading begins of partitions that neither our state nor the group knows."""

from collections.abc import Collection
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition


async def where(
    start: str | int | datetime, made: AIOKafkaConsumer, new: Collection[TopicPartition], now_ns: int
) -> dict[TopicPartition, int]:
    """Return first offsets: of records that are not older than asked, else the end. Raises KafkaError.

    start   as `KafkaSettings.start`: a word, an age in nanoseconds, or a time
    now_ns  the wall clock, by which brokers stamp records
    """
    if not new or start == "earliest":
        return {}
    if start == "latest":
        return dict(await made.end_offsets(list(new)))
    from_ms = int(start.timestamp() * 1000) if isinstance(start, datetime) else (now_ns - int(start)) // 1_000_000
    found = await made.offsets_for_times(dict.fromkeys(new, max(0, from_ms)))
    late = [partition for partition in new if found.get(partition) is None]
    ends = await made.end_offsets(late) if late else {}
    return {partition: ends[partition] if partition in ends else found[partition].offset for partition in new}
