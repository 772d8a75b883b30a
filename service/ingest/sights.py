"""What calls tell beside the labels of their cells: types of error, by number, and models that answer for others."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from detectors.core.columns import Arrays, Ids, Slot
from detectors.core.rows import under
from detectors.core.series import SeriesTable
from service.ingest.join.closing import Closed
from service.ingest.kernel.constants import UNIT_ERROR

ERRORS_MAX, ANSWERS_MAX = 512, 10_000
"""Types of error that have a number (the lexicon tells fewer apart), and pairs of models that are remembered."""


class Sights:
    """The numbers of types of error, and the pairs of models that were seen. One owner."""

    def __init__(self) -> None:
        self.errors = SeriesTable(("error",), ERRORS_MAX)
        self._answers: dict[tuple[str, str], None] = {}

    def error_ids(self, closed: Closed, start_ns: int) -> Ids:
        """The number of each unit's type of error, -1 where it has none."""
        words = closed.units[UNIT_ERROR].astype(np.int64)
        ids = np.full(int(words.max(initial=0)) + 1, -1, np.int32)
        # In the order of their names: the numbers of words depend on what else was read.
        for word, error in sorted(closed.errors.items(), key=lambda told: told[1]):
            ids[word] = self.errors.id_of((error,), start_ns)
        each: Ids = ids[words]
        return each

    def first_answers(self, closed: Closed) -> tuple[tuple[str, str], ...]:
        """The models that answer by another name than was asked for, where that was not seen before."""
        return self._first(closed.answers)

    def _first(self, answers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        new = tuple(pair for pair in answers if pair not in self._answers)
        if len(self._answers) < ANSWERS_MAX:
            self._answers.update(dict.fromkeys(new))
        return new

    def told(self, slot: Slot) -> Slot:
        """A slot that was counted elsewhere, without the answers that were seen before."""
        return replace(slot, answers=self._first(slot.answers))

    def expire(self, before_ns: int) -> None:
        """Forget the types of error that were last seen before then."""
        self.errors.expire(before_ns)

    def snapshot(self) -> Arrays:
        return {f"errors.{name}": array for name, array in self.errors.snapshot().items()}

    def answers(self) -> list[tuple[str, str]]:
        """The pairs, as JSON knows them."""
        return list(self._answers)

    @classmethod
    def restore(cls, arrays: Arrays, answers: Iterable[Iterable[str]]) -> "Sights":
        """What `snapshot` and `answers` told of; format 10 had neither."""
        sights = cls()
        if errors := under(arrays, "errors."):
            sights.errors = SeriesTable.restore(errors, ERRORS_MAX)
        for asked, answered in answers:
            sights._answers[asked, answered] = None
        return sights
