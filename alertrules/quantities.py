"""What a rule's numbers mean: durations, budgets, effects and levels, each read from what people write.

Every function raises ValueError with a sentence that says what was read and what to write instead.
"""

import re
from dataclasses import dataclass

from detectors.core.columns import SECOND_NS

_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?",
    re.ASCII,
)
_HOUR_NS = 3600 * SECOND_NS
_DAY_NS = 24 * _HOUR_NS
_YEAR_NS = 365 * _DAY_NS
_DURATION_UNITS_NS = (_YEAR_NS, 7 * _DAY_NS, _DAY_NS, _HOUR_NS, 60 * SECOND_NS, SECOND_NS, SECOND_NS // 1000)
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_PER = re.compile(_NUMBER + r"\s*/\s*([a-z]+)", re.ASCII)
"""A number a time, as of budgets and rates."""
_BUDGET_WEEKS = {"day": 1 / 7, "week": 1.0, "month": 30 / 7, "year": 365 / 7}
_EFFECT_PART = re.compile(rf"(?:{_NUMBER}\s*x(?:\s+at\s+p95)?|\+?{_NUMBER}\s*pp)", re.ASCII)
_RATE_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LEVEL = re.compile(rf"(\$?){_NUMBER}(%?)", re.ASCII)


def duration_ns(text: object) -> int:
    """A duration as Prometheus writes them, in nanoseconds.

    >>> duration_ns("1h30m"), duration_ns("0")
    (5400000000000, 0)
    """
    if text in ("0", 0) and text is not False:
        return 0
    match = _DURATION.fullmatch(text) if isinstance(text, str) and 0 < len(text) <= 40 else None
    if match is None:
        raise ValueError(f"{_read(text)} is not a duration; write 5m, 90s or 1h30m")
    total = sum(int(part) * unit for part, unit in zip(match.groups(), _DURATION_UNITS_NS, strict=True) if part)
    if total > _YEAR_NS:
        raise ValueError(f"{_read(text)} is longer than a year; write 5m, 90s or 1h30m")
    return total


def budget_per_week(text: object) -> float:
    """False pages a week that a rule may cost.

    >>> budget_per_week("0.5/week"), budget_per_week("2/day")
    (0.5, 14.0)
    """
    match = _PER.fullmatch(text) if isinstance(text, str) else None
    weeks = _BUDGET_WEEKS.get(match[2]) if match else None
    if match is None or weeks is None:
        raise ValueError(f"{_read(text)} is not a budget of false pages; write 1/week, 0.5/week, 2/day or 1/month")
    budget = float(match[1]) / weeks
    if not 1e-6 <= budget <= 10_080:
        raise ValueError(f"{_read(text)} is out of range, more than 0 and at most one page a minute; write 1/week")
    return budget


def rate_per_s(text: object) -> float:
    """How often something happens in a second.

    >>> rate_per_s("2/s"), rate_per_s("30/m"), rate_per_s("0/s")
    (2.0, 0.5, 0.0)
    """
    match = _PER.fullmatch(text) if isinstance(text, str) else None
    seconds = _RATE_SECONDS.get(match[2]) if match else None
    if match is None or seconds is None:
        raise ValueError(f"{_read(text)} is not a rate; write 2/s, 30/m, 5/h or 4/d")
    rate = float(match[1]) / seconds
    if rate > 10_000:
        raise ValueError(f"{_read(text)} is more than 10000 a second; write 2/s")
    return rate


def share(text: object) -> float:
    """A part of a whole, 0 to 1.

    >>> share("5%"), share(0.05), share("100%")
    (0.05, 0.05, 1.0)
    """
    match = _LEVEL.fullmatch(text) if isinstance(text, str) else None
    value = float(match[2]) / 100 if match and match[3] and not match[1] else None
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = float(text)
    if value is None or not 0 <= value <= 1:
        raise ValueError(f"{_read(text)} is not a share; write 5% or 0.05")
    return value


@dataclass(frozen=True)
class Effect:
    """The smallest change worth a page: both parts that are given must be reached.

    ratio   new level over old, > 1; None where only points count
    points  difference of shares, 0.05 for five percentage points; None where only the ratio counts
    """

    ratio: float | None
    points: float | None

    def __str__(self) -> str:
        parts = [] if self.ratio is None else [f"{self.ratio:g}x"]
        if self.points is not None:
            parts.append(f"+{100 * self.points:g}pp")
        return " and ".join(parts)


def effect(text: object) -> Effect:
    """What counts is what is written: `2x` alone asks for no points.

    >>> effect("1.5x and +0.5pp")
    Effect(ratio=1.5, points=0.005)
    >>> effect("10pp of the mix").points
    0.1
    """
    parts = str(text).removesuffix(" of the mix").split(" and ") if isinstance(text, str) else []
    ratio = points = None
    for part in parts:
        match = _EFFECT_PART.fullmatch(part.strip())
        if match is None or (match[1] and ratio is not None) or (match[2] and points is not None):
            ratio = points = None
            break
        ratio = float(match[1]) if match[1] else ratio
        points = float(match[2]) / 100 if match[2] else points
    if ratio is None and points is None:
        raise ValueError(f"{_read(text)} is not an effect; write 1.5x, +5pp, 1.5x and +0.5pp, 1.5x at p95 or 10pp")
    if ratio is not None and not 1 < ratio <= 1000:
        raise ValueError(f"{_read(text)}: a ratio is more than 1 and at most 1000; write 1.5x")
    if points is not None and not 0 < points < 1:
        raise ValueError(f"{_read(text)}: points are more than 0 and less than 100; write +5pp")
    return Effect(ratio, points)


def level(text: object, unit: str) -> float:
    """A level in `unit`, `ratio` (0 to 1), `s`, `usd` or any other, from a number or from text that names its unit.

    >>> level("5%", "ratio"), level("800ms", "s"), level("$2", "usd"), level(0.5, "usd")
    (0.05, 0.8, 2.0, 0.5)
    """
    expected = {"ratio": "5% or 0.05", "s": "5s or 800ms", "usd": "$2 or 0.5"}.get(unit, "100")
    value: float | None = None
    match = _LEVEL.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = float(text)
    elif match and not (match[1] and unit != "usd") and not (match[3] and unit != "ratio"):
        value = float(match[2]) / (100 if match[3] else 1)
    elif unit == "s" and isinstance(text, str) and _decimal_seconds(text) is not None:
        value = _decimal_seconds(text)
    if value is None or not 0 <= value < 1e12:  # NaN fails the comparison too.
        raise ValueError(f"{_read(text)} is not a level of this signal; write {expected}")
    if unit == "ratio" and value >= 1:
        raise ValueError(f"{_read(text)} is never passed, a share is at most 1; write {expected}")
    return value


def _decimal_seconds(text: str) -> float | None:
    decimal = re.fullmatch(_NUMBER + r"(ms|s)", text, re.ASCII)
    if decimal:
        return float(decimal[1]) / (1000 if decimal[2] == "ms" else 1)
    try:
        return duration_ns(text) / SECOND_NS
    except ValueError:
        return None


def _read(text: object) -> str:
    """What was read, quoted and cut, for a sentence."""
    shown = f'"{text}"' if isinstance(text, str) else repr(text)
    return shown if len(shown) <= 80 else shown[:79] + "…"
