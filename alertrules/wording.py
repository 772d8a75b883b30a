"""The words of a page: telemetry's strings made harmless here and nowhere else, and numbers people can read."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from alertrules.lifecycle import Labels
from detectors.core.columns import SECOND_NS

VALUE_LENGTH_MAX = 200
TITLE_LENGTH_MAX = 500

_BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_INVISIBLE = [0x00AD, 0x200B, 0x2060, 0xFEFF]
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_HARMLESS: dict[int, str] = (
    dict.fromkeys(_BIDI + _INVISIBLE, "")
    | dict.fromkeys(_CONTROL, " ")
    | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
)


def clean(text: str, length_max: int) -> str:
    """Text of telemetry that can be shown: one line, no control or bidi characters, valid Unicode, cut with `…`."""
    harmless = " ".join(text[: 4 * length_max].translate(_HARMLESS).split())
    return harmless if len(harmless) <= length_max else harmless[: length_max - 1] + "…"


def percent(share: float) -> str:
    return f"{digits(100 * share)}%"


def seconds(duration_s: float) -> str:
    if duration_s < 1:
        return f"{digits(1000 * duration_s)} ms"
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if duration_s >= 2 * size:
            return f"{digits(duration_s / size)} {name}"
    return f"{digits(duration_s)} s"


def usd(dollars: float) -> str:
    return f"${digits(dollars)}"


def utc(time_ns: int) -> str:
    """Minutes are enough for people."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M UTC")


def length(duration_ns: int) -> str:
    """A duration in its two largest units.

    >>> length(6 * 3600 * SECOND_NS), length(5_430 * SECOND_NS), length(200 * 3600 * SECOND_NS)
    ('6 h', '1 h 30 min', '8 d 8 h')
    """
    left, parts = duration_ns // SECOND_NS, []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if count := left // size:
            parts.append(f"{count} {unit}")
        left %= size
    return " ".join(parts[:2]) or "0 s"


def digits(value: float) -> str:
    """Three digits, never an exponent."""
    if not math.isfinite(value):
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.6f}"


LEVELS: dict[str, Callable[[float], str]] = {
    "ratio": percent, "share": percent, "s": seconds, "usd": usd,
    **{unit: partial(lambda unit, value: f"{digits(value)} {unit}", unit) for unit in ("times", "calls", "tokens")},
}  # fmt: skip
"""How a finding's level is written, by its unit."""


def labels_text(labels: Labels) -> str:
    """Label values for people: `agent support, tenant acme`."""
    return ", ".join(f"{name} {clean(value, VALUE_LENGTH_MAX)}" for name, value in labels) or "everything"
