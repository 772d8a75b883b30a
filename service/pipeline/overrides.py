"""What a rule asks of single series: the first of its overrides that matches, and who shares the budget of one."""

from collections.abc import Iterable

from alertrules.rules import Rule
from detectors.core.budget import rounded
from detectors.core.contract import Asked


class Overrides:
    """The overrides of one rule, and the series that each has met.

    A budget is shared by the series that its override matches, their number rounded up to a power of two, as a rule's.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._number_of: dict[int, int] = {}  # By series: the place of its override.
        self._rows: list[set[int]] = [set() for _ in rule.overrides]

    def meet(self, met: Iterable[tuple[int, tuple[str, ...]]]) -> dict[int, Asked]:
        """Take series with their labels in. Returns what is to be asked of series now, of older ones too."""
        changed: set[int] = set()
        asked: dict[int, Asked] = {}
        for row, values in met:
            number = self.rule.override_of(values)
            if number is None:
                continue
            self._number_of[row] = number
            before = rounded(len(self._rows[number]))
            self._rows[number].add(row)
            asked[row] = self._asked(number)
            if self.rule.overrides[number].budget_per_week and rounded(len(self._rows[number])) != before:
                changed.add(number)
        return asked | {row: self._asked(number) for number in changed for row in self._rows[number]}

    def of(self, row: int) -> Asked | None:
        """What is asked of one series that was met; None where no override matches it."""
        number = self._number_of.get(row)
        return None if number is None else self._asked(number)

    def forget(self, rows: Iterable[int]) -> None:
        """These series are gone."""
        for row in rows:
            if (number := self._number_of.pop(row, None)) is not None:
                self._rows[number].discard(row)

    def _asked(self, number: int) -> Asked:
        rule, override = self.rule, self.rule.overrides[number]
        effect, terms = override.effect or rule.effect, rule.terms
        ratio, points = (effect.ratio, effect.points) if effect else (None, None)
        budget = override.budget_per_week
        share = None if budget is None else budget / rounded(len(self._rows[number]))
        above = terms.above if override.above is None else float(override.above)
        below = terms.below if override.below is None else float(override.below)
        return Asked(ratio, points, above, below, share)
