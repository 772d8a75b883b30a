"""What explains most of a change, as terms: a page puts them in words."""

from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    """In what way a term explains a change."""

    RATE = "rate"  # What it names got worse (or better) itself.
    MIX = "mix"  # What it names is no worse, but there is more of it, or less.
    FACTOR = "factor"  # One of the factors that multiply to the whole.


@dataclass(frozen=True)
class Term:
    """One part of a change.

    label        a label of cells, `error` for what failed calls ended with, or a factor
    value        its value; empty for a factor
    before, now  its own level: of RATE the level of what it names, of MIX its share of the units, of FACTOR the factor;
                 NaN where there was nothing of it
    unit         that `before` and `now` are told in, as in a finding
    share        what part of the change it explains, about 1 for all of it
    """

    how: How
    label: str
    value: str
    before: float
    now: float
    unit: str
    share: float


@dataclass(frozen=True)
class Example:
    """A trace worth a look.

    what   slowest, failed or dearest
    trace  its id, 32 hex digits
    """

    what: str
    trace: str


Cause = tuple[Term, ...]
"""The terms that explain most of a change, each within those before it; empty where nothing does."""


@dataclass(frozen=True)
class Known:
    """What is known of a change besides the change itself, when an alert begins.

    cause        what explains most of it
    examples     traces that show it
    news         what else changed then, in words
    trend        the level over the last two hours, a character for ten minutes; empty where it is not known
    is_weighted  whether units stand for more than themselves, as traffic is sampled
    """

    cause: Cause = ()
    examples: tuple[Example, ...] = ()
    news: tuple[str, ...] = ()
    trend: str = ""
    is_weighted: bool = False


UNKNOWN = Known()
