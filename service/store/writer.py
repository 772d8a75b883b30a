"""Writes down what came of deliveries: all that waits in one transaction, so that it waits for the disk once.

One thread writes, as the disk is slow and a save may hold the file.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
Write = Callable[[], Any]


class Writer:
    """One outbox's.

    together  carries out writes in one transaction; it raises where one of them does, and has written none then
    thread    that writes; it is this writer's alone
    """

    def __init__(self, together: Callable[[Sequence[Write]], list[Any]], thread: Executor) -> None:
        self._together, self._thread = together, thread
        self._waiting: deque[tuple[Write, Future[Any]]] = deque()

    async def written(self, write: Callable[[], T]) -> T:
        """Have it written. Whoever is cancelled meanwhile has it written all the same. Raises what sqlite3 raises."""
        done: Future[T] = Future()
        self._waiting.append((write, done))
        self._thread.submit(self._write_all)  # Of several the first finds all that waits, and the others nothing.
        return await asyncio.shield(asyncio.wrap_future(done))

    def _write_all(self) -> None:
        batch: list[tuple[Write, Future[Any]]] = []
        while self._waiting:
            batch.append(self._waiting.popleft())
        if not batch:
            return
        try:
            results = self._together([write for write, _ in batch])
        except Exception as error:
            for _, done in batch:
                done.set_exception(error)
            return
        for (_, done), result in zip(batch, results, strict=True):
            done.set_result(result)

    def close(self) -> None:
        """Wait until all is written: the connection may be closed after it."""
        self._thread.shutdown()
