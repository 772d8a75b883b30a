"""Outcomes of sessions in the words of those who send them: which class each word is of, and which classes are good.

A word in no class is `unmapped`: it is counted and told, and never bad. Words are compared without regard to case, and
space, `_` and `-` are the same; `*` stands for anything.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from detectors.core.columns import OUTCOMES

UNMAPPED = "unmapped"
CLASSES_MAX = 12
WORDS_MAX, WORD_LENGTH_MAX, STARS_MAX = 200, 100, 3
REMEMBERED_MAX = 10_000
_NAME = re.compile("[a-z][a-z0-9_]{0,39}")
_GAPS = re.compile(r"[\s_-]+")
_OF_NOTHING = re.compile(r"[\s_*-]*")


def plain(word: str) -> str:
    """A word as words are compared.

    >>> plain("  Handed-Off "), plain("resolved_at 7  days")
    ('handed off', 'resolved at 7 days')
    """
    return _GAPS.sub(" ", word.strip().lower()).strip()


def _class_name(text: object) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text) or text == UNMAPPED:
        raise ValueError(
            f"{text!r:.80} is not the name of a class; write small letters, digits and _, and not {UNMAPPED}"
        )
    return text


def _words(written: object) -> tuple[str, ...]:
    if not isinstance(written, list | tuple) or len(written) > WORDS_MAX:
        raise ValueError(f"{written!r:.80} is not a list of at most {WORDS_MAX} words; write [resolved at * days]")
    for word in written:
        fits = isinstance(word, str) and len(word) <= WORD_LENGTH_MAX and word.count("*") <= STARS_MAX
        if not fits or _OF_NOTHING.fullmatch(str(word)):
            raise ValueError(
                f"{word!r:.80} is not a word; write text of at most {WORD_LENGTH_MAX} characters, in quotes, with at "
                f"most {STARS_MAX} stars and something besides"
            )
    return tuple(written)


class OutcomeClass(BaseModel):
    """One class: its name, whether it is a good end, and the words that are of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    name: Annotated[str, BeforeValidator(_class_name), Field(alias="class")]
    good: bool | None = None
    words: Annotated[tuple[str, ...], BeforeValidator(_words), Field(strict=False)] = ()


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All classes: the good ones first, then the others, the least bad first, and last those of no class.

    names  of the classes; a place in it is a class id
    goods  how many of them are good
    words  class id by word, those with a star as `patterns` in the order in which they are tried
    """

    names: tuple[str, ...]
    goods: int
    words: dict[str, int]
    patterns: tuple[tuple[re.Pattern[str], int], ...]
    _known: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def unmapped(self) -> int:
        """The id of those of no class, the last."""
        return len(self.names) - 1

    @property
    def facts(self) -> tuple[object, ...]:
        """What tells one table from another."""
        patterns = tuple((pattern.pattern, place) for pattern, place in self.patterns)
        return self.names, self.goods, tuple(sorted(self.words.items())), patterns

    def place(self, word: str) -> int:
        """The class id of a word."""
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            text = plain(word)
            by_pattern = (place for pattern, place in self.patterns if pattern.fullmatch(text))
            found = self._known[word] = self.words[text] if text in self.words else next(by_pattern, self.unmapped)
        return found


def table(written: Iterable[OutcomeClass], shipped: Iterable[OutcomeClass]) -> Outcomes:
    """The classes that somebody wrote, before those that are shipped and that they do not name.

    A class that both name has the words of both; what was written comes first, whatever class it is of.
    """
    written, shipped = tuple(written), tuple(shipped)
    is_good = {one.name: False for one in written} | {one.name: bool(one.good) for one in shipped}
    is_good |= {one.name: one.good for one in written if one.good is not None}
    order = dict.fromkeys(one.name for one in (*written, *shipped))
    names = sorted(order, key=lambda name: not is_good[name])  # Sorting keeps the order of equals.
    words: dict[str, int] = {}
    patterns = []
    for one in (*written, *shipped):
        for word in (one.name, *one.words):
            text, place = plain(word), names.index(one.name)
            if "*" in text:
                patterns.append((re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL), place))
            else:
                words.setdefault(text, place)
    return Outcomes((*names, UNMAPPED), sum(is_good[name] for name in names), words, tuple(patterns))


def _shipped() -> Iterator[OutcomeClass]:
    words = {
        "resolved": (
            "success", "successful", "succeeded", "completed", "complete", "done", "solved", "contained", "ok",
            "resolved at *", "resolved in *", "resolved within *", "resolved after *", "resolved by *", "resolved on *",
            "resolved first contact", "first contact resolution", "fcr", "auto resolved", "self served", "self service",
            "answered", "fulfilled", "customer satisfied", "user satisfied", "satisfied", "very satisfied", "high csat",
            "csat high", "good csat", "promoter",
        ),
        "escalated": (
            "transferred", "transfer", "handoff", "handed off", "human", "closed transferred", "deflected",
            "escalated *", "escalation", "escalate", "transferred to *", "handed off to *", "handed over", "handover",
            "handed to *", "human takeover", "needs human", "agent requested",
        ),
        "abandoned": (
            "abandon", "dropped", "timeout", "timed out", "cancelled", "canceled", "no response", "abandoned *",
            "dropped at *", "user left", "left", "hung up", "hangup", "expired", "inactive", "disconnected",
        ),
        "failed": (
            "failure", "fail", "error", "errored", "unresolved", "rejected", "failed *", "not resolved", "unsolved",
            "reopened", "reopened at *", "reopened after *", "unresolved at *", "unresolved after *", "low csat",
            "csat low", "bad csat", "customer dissatisfied", "customer unsatisfied", "customer not satisfied",
            "user dissatisfied", "dissatisfied", "unsatisfied", "not satisfied", "very dissatisfied", "detractor",
        ),
    }  # fmt: skip
    for name in OUTCOMES[:-1]:
        yield OutcomeClass.model_validate({"class": name, "good": name == "resolved", "words": words[name]})


SHIPPED_CLASSES = tuple(_shipped())
SHIPPED = table((), SHIPPED_CLASSES)
"""The classes without any of the operator's."""
assert SHIPPED.names == OUTCOMES
