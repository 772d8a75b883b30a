"""Who looks when there may be something to do, and how outcomes are written together."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.delivery.rests import Rests
from service.store.transaction import transaction
from service.store.writer import Writer


def test_one_is_woken_at_a_time() -> None:
    """Of twenty that rest, as many look as are woken; the one that watches looks by itself after a while."""
    looked: list[int] = []

    async def sender(rests: Rests, number: int) -> None:
        while True:
            await rests.rest(0.2)
            looked.append(number)

    async def steps() -> None:
        rests = Rests()
        tasks = [asyncio.create_task(sender(rests, number)) for number in range(20)]
        await asyncio.sleep(0.05)
        for count in (1, 2, 3):
            rests.wake()
            await asyncio.sleep(0.01)
            assert len(looked) == count
        await asyncio.sleep(0.5)
        assert 4 <= len(looked) <= 6
        looked.clear()
        rests.wake_all()
        await asyncio.sleep(0.01)
        assert set(looked) == set(range(20))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(steps())


def test_a_wake_while_nobody_rests_is_not_lost() -> None:
    """Whoever rests next looks at once; and whoever was cancelled is not counted on."""

    async def steps() -> None:
        rests = Rests()
        rests.wake()
        async with asyncio.timeout(1):
            await rests.rest(60)
        gone = [asyncio.create_task(rests.rest(60)) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in gone[:2]:
            task.cancel()
        await asyncio.gather(*gone[:2], return_exceptions=True)
        rests.wake()
        async with asyncio.timeout(1):
            await gone[2]

    asyncio.run(steps())


def test_what_waits_is_written_together() -> None:
    """Many writes are few transactions, each answered by itself; where one raises, all of its transaction are told."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (n INTEGER)")
    batches: list[int] = []

    def together(writes: Sequence[Callable[[], Any]]) -> list[Any]:
        batches.append(len(writes))
        with transaction(connection):
            return [write() for write in writes]

    def put(number: int) -> int:
        if number == 13 and batches[-1] > 1:
            raise sqlite3.OperationalError("disk is full")
        with transaction(connection):  # Part of the other.
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    async def steps() -> None:
        writer = Writer(together, ThreadPoolExecutor(1))
        numbers = [n for n in range(100) if n != 13]
        assert await asyncio.gather(*(writer.written(lambda n=n: put(n)) for n in numbers)) == numbers  # type: ignore[misc]
        found = await asyncio.gather(*(writer.written(lambda n=n: put(n)) for n in (13, 200)), return_exceptions=True)  # type: ignore[misc]
        assert all(isinstance(one, sqlite3.OperationalError) or one in (13, 200) for one in found)
        writer.close()

    asyncio.run(steps())
    rows = {n for (n,) in connection.execute("SELECT n FROM t")}
    assert rows >= set(range(100)) - {13} and len(batches) <= 102
    with pytest.raises(ValueError), transaction(connection):
        connection.execute("INSERT INTO t VALUES (999)")
        raise ValueError
    assert (999,) not in connection.execute("SELECT n FROM t").fetchall()
