"""What calls tell beside the labels of their cells: types of error, models that answer for others, prompts."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from detectors.core.columns import Arrays, Firsts, Ids, Pairs, Slot
from detectors.core.rows import under
from detectors.core.series import SeriesTable
from service.ingest.join.closing import Closed
from service.ingest.kernel.constants import UNIT_ERROR

ERRORS_MAX, PAIRS_MAX = 512, 10_000
"""Types of error that have a number (the lexicon tells fewer apart), and pairs of a kind that are remembered."""


class Sights:
    """The numbers of types of error, and the pairs that were seen of models and of prompts. One owner."""

    def __init__(self) -> None:
        self.errors = SeriesTable(("error",), ERRORS_MAX)
        self._answers: dict[tuple[str, str], None] = {}
        self._prompts: dict[tuple[str, str], None] = {}

    def error_ids(self, closed: Closed, start_ns: int) -> Ids:
        """The number of each unit's type of error, -1 where it has none."""
        words = closed.units[UNIT_ERROR].astype(np.int64)
        ids = np.full(int(words.max(initial=0)) + 1, -1, np.int32)
        # In the order of their names: the numbers of words depend on what else was read.
        for word, error in sorted(closed.errors.items(), key=lambda told: told[1]):
            ids[word] = self.errors.id_of((error,), start_ns)
        each: Ids = ids[words]
        return each

    def first(self, firsts: Firsts) -> Firsts:
        """Of these what was not seen before."""
        return firsts._replace(answers=_new(self._answers, firsts.answers), prompts=_new(self._prompts, firsts.prompts))

    def told(self, slot: Slot) -> Slot:
        """A slot that was counted elsewhere, without what was seen before."""
        return replace(slot, firsts=self.first(slot.firsts))

    def expire(self, before_ns: int) -> None:
        """Forget the types of error that were last seen before then."""
        self.errors.expire(before_ns)

    def snapshot(self) -> Arrays:
        return {f"errors.{name}": array for name, array in self.errors.snapshot().items()}

    def seen(self) -> list[list[tuple[str, str]]]:
        """The pairs of answers and of prompts, as JSON knows them."""
        return [list(self._answers), list(self._prompts)]

    @classmethod
    def restore(cls, arrays: Arrays, seen: Iterable[Iterable[Iterable[str]]]) -> "Sights":
        """What `snapshot` and `seen` told of; older states have none of it."""
        sights = cls()
        if errors := under(arrays, "errors."):
            sights.errors = SeriesTable.restore(errors, ERRORS_MAX)
        for known, pairs in zip((sights._answers, sights._prompts), seen, strict=False):
            known.update(dict.fromkeys((one, other) for one, other in pairs))
        return sights


def _new(known: dict[tuple[str, str], None], pairs: Pairs) -> Pairs:
    """The pairs that are not known; they are from now on, while there is room."""
    new = tuple(pair for pair in pairs if pair not in known)
    if len(known) < PAIRS_MAX:
        known.update(dict.fromkeys(new))
    return new
