"""Who else wants to hear what was counted, besides the slots."""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from service.ingest.join.closing import COST_SOURCES, Closed, Labels, Rows
from service.ingest.kernel.constants import (
    UNIT_CACHE_READ,
    UNIT_CACHE_WRITE,
    UNIT_DOLLARS,
    UNIT_EACH,
    UNIT_FAILED,
    UNIT_INPUT,
    UNIT_OUTCOME,
    UNIT_OUTPUT,
    UNIT_REASONING,
    UNIT_SOURCE,
    UNIT_WEIGHT,
)
from service.ingest.prices import CostSource, Tokens


class Review(Protocol):
    """Hears of every span, call and session. Labels are values of CELL_LABELS, in that order."""

    def spans(self, dialects: Counter[str]) -> None:
        """Spans were read, so many by dialect; of none where that is empty."""

    def call(self, labels: Labels, failed: bool, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """A call was counted."""

    def usage(self, labels: Labels, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """A wrapper handed in the tokens that its call, counted already, did not report."""

    def session(self, labels: Labels, key: str, outcome: int) -> None:
        """A leg of a session closed, its key the same for all legs; `outcome` is -1 if none was stated."""


def reviewed(review: Review, closed: Closed, labels_of: Callable[[Rows], list[Labels]]) -> None:
    """Tell of the calls and sessions of a slot."""
    for i, (unit, labels) in enumerate(zip(closed.units.T.tolist(), labels_of(closed.labels), strict=True)):
        if i >= closed.calls:
            session = closed.ended[i - closed.calls]
            review.session(labels, f"{session['high']:x}.{session['low']:x}", int(unit[UNIT_OUTCOME]))
            continue
        each = unit[UNIT_EACH]
        parts = unit[UNIT_CACHE_READ], unit[UNIT_CACHE_WRITE], unit[UNIT_REASONING]
        tokens = Tokens(unit[UNIT_INPUT] / each, unit[UNIT_OUTPUT] / each, *parts)
        cost = unit[UNIT_DOLLARS] / each, COST_SOURCES[int(unit[UNIT_SOURCE])]
        if unit[UNIT_WEIGHT]:
            review.call(labels, unit[UNIT_FAILED] > 0, tokens, cost)
        else:
            review.usage(labels, tokens, cost)
