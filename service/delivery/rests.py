"""How many senders rest: who is woken when there may be something to do, and who looks by itself.

One of those that rest watches: it looks again after a while. The others rest until they are woken, one at a time:
whoever finds something to do wakes the next. So something new costs one look and not as many as there are senders.
"""

import asyncio
from collections import deque


class Rests:
    """Those that rest. One owner: all of it is on one event loop."""

    def __init__(self) -> None:
        self._watcher: asyncio.Future[None] | None = None
        self._others: deque[asyncio.Future[None]] = deque()
        self._is_stirred = False  # Somebody was to be woken while nobody rested.

    async def rest(self, seconds: float) -> None:
        """Rest until woken; whoever comes first while nobody watches, so long at most."""
        if self._is_stirred:
            self._is_stirred = False
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._watcher is not None:
            self._others.append(woken)
            await woken
            return
        self._watcher = woken
        try:
            async with asyncio.timeout(seconds):
                await woken
        except TimeoutError:
            pass
        finally:
            self._watcher = None

    def wake(self) -> None:
        """Have one of them look: the one that watches, as it knows when to look next."""
        if self._watcher is not None and not self._watcher.done():
            self._watcher.set_result(None)
            return
        while self._others:
            one = self._others.popleft()
            if not one.done():  # It may have been cancelled.
                one.set_result(None)
                return
        self._is_stirred = True

    def wake_all(self) -> None:
        """Have all of them look."""
        for one in (self._watcher, *self._others):
            if one is not None and not one.done():
                one.set_result(None)
        self._others.clear()
        self._is_stirred = True
