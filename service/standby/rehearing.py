"""What people told a former leader, heard again where in the reports they said it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from service.runtime.batching import Taking
from service.sources.arrival import Arrival
from service.standby.told_topic import Heard

HURRY_TAKES = 60
"""A word waits for reports no longer than so many takes that gave nothing, of a second each: they may never come."""


class Rehearing:
    """The reader's end of a queue, with words between what comes off it. One owner.

    words    in the order in which they were said
    offsets  next offsets of what was read so far
    place    what the offset of the next word is saved under
    """

    def __init__(self, taking: Taking, words: Iterable[Heard], offsets: Mapping[str, int], place: str) -> None:
        self._taking, self._words, self._at, self._place = taking, deque(words), dict(offsets), place
        self._left: deque[Arrival] = deque()
        self._in_vain = 0

    def is_empty(self) -> bool:
        """Whether nothing is left to take. Words that wait for reports are heard by whoever leads next."""
        return not self._left and self._taking.is_empty()

    async def take(self) -> list[Arrival]:
        """What comes next: a word alone, or arrivals up to the place of the next word."""
        if not self._words and not self._left:
            return await self._taking.take()
        if self._words and self._is_next():
            return [self._word()]
        if not self._left:
            self._left.extend(await self._taking.take())
            self._in_vain = 0 if self._left else self._in_vain + 1
        if self._words and self._left and self._left[0].marks:
            return [self._word()]  # Somebody says more: what was said before is heard before.
        taken = list[Arrival]()
        while self._left and not (taken and (self._left[0].marks or self._left[0].expected is not None)):
            taken.append(self._cut(self._left.popleft()))
            self._at |= taken[-1].offsets
            if taken[-1].marks or (self._words and self._is_next()):
                break
        return taken

    def _word(self) -> Arrival:
        heard = self._words.popleft()
        return Arrival((), {self._place: heard.offset + 1}, marks=(heard.word,))

    def _is_next(self) -> bool:
        return self._in_vain >= HURRY_TAKES or not self._waits_for()

    def _waits_for(self) -> dict[str, int]:
        """The partitions that the next word waits for, with the offset up to which they are to be read first."""
        return {name: after for name, after in self._words[0].after.items() if self._at.get(name, 0) < after}

    def _cut(self, arrival: Arrival) -> Arrival:
        """The part of an arrival before the next word; the rest is left, with whoever waits for an answer."""
        waits = self._waits_for() if self._words else {}
        for name, after in waits.items():
            end = arrival.offsets.get(name, 0)
            keep = len(arrival.records) - (end - after)  # Reports have no gaps between their offsets.
            if end > after and 0 < keep < len(arrival.records):
                self._left.appendleft(replace(arrival, records=arrival.records[keep:], expected=None, begins={}))
                offsets = {**arrival.offsets, name: after}
                return replace(arrival, records=arrival.records[:keep], offsets=offsets, answers=None, checked={})
        return arrival
