"""What a field of a rule may say, given the rule's detector.

Each takes the fields that were read before its own. Raises ValueError with a whole sentence.
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationInfo

from alertrules.quantities import Effect, level
from detectors.core.descriptor import Descriptor, descriptor
from detectors.core.signals import SIGNALS, Mean

T = TypeVar("T")


def detector_of(info: ValidationInfo) -> Descriptor | None:
    """What the rule's detector is; None where what was written for it is none, which is told already."""
    word = info.data.get("detector")
    return descriptor(word) if word is not None else None


def is_of(info: ValidationInfo, what: str) -> bool:
    """Whether the rule's detector is known to be, or to take, that."""
    return bool(getattr(detector_of(info), what, False))


def may_be(info: ValidationInfo, what: str) -> bool:
    """Whether the rule's detector may: one that is not known may anything."""
    return detector_of(info) is None or is_of(info, what)


def why_no_budget(info: ValidationInfo) -> str:
    """Why the rule has no budget; empty where it has one."""
    described, word = detector_of(info), info.data.get("detector")
    if described and described.limit:
        return f"detector: {word} pages whenever its limit is passed"
    if described and described.takes_objective:
        return f"detector: {word} pages whenever the objective is missed so fast"
    return "a rule with every pages whenever that has passed" if info.data.get("every_ns") else ""


def is_share(signal: str) -> bool:
    """Whether a signal is a part of all, of what is bad."""
    return isinstance(SIGNALS[signal].of, Mean) and SIGNALS[signal].unit == "ratio" and signal != "cache_read_share"


def limit_of(text: object, info: ValidationInfo) -> float | None:
    """A limit in its detector's or its signal's unit; None where the signal's own problem is told already."""
    signal, described = info.data.get("signal"), detector_of(info)
    limit = described.limit if described else None
    if limit and limit.unit is None and signal is None:
        return None
    return level(text, (limit.unit if limit else None) or SIGNALS[signal or "error_ratio"].unit)


def fitting(asked: Effect, info: ValidationInfo) -> Effect:
    """The effect, if the rule's detector can measure it."""
    word, described = info.data.get("detector"), detector_of(info)
    if described is None:
        return asked
    taken = described.effects
    if taken is None:
        raise ValueError(f"detector: {word} has no effect; leave it out")
    if (asked.ratio is not None and taken.ratio is None) or (asked.points is not None and taken.points is None):
        raise ValueError(f'"{asked}" is not an effect of {word}; write {taken.example}')
    return asked


def of_some(info: ValidationInfo, text: object, read: Callable[[object], T], has_it: bool) -> T | None:
    """A field that the rules of some detectors may have and no others."""
    if not has_it and text is not None:
        raise ValueError(f"detector: {info.data.get('detector')} has none; leave it out")
    return None if text is None else read(text)
