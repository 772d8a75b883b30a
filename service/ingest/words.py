"""Words of telemetry that no table knows: counted, never guessed, and told once each with how often they came."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from detectors.core.columns import SECOND_NS

GATHER_NS = 600 * SECOND_NS
"""How long a new word is counted before it is told, so that it can be said how often it comes."""
NEVER_NS = 2**63
TICKETS_MAX = 20
"""Words told at once; of more, only how many they are."""
UNKNOWN_WORDS_MAX = 1_000
"""Words known at a time; in a full table a new one takes the place of one that was told over a week ago, or of none."""
WEEK_NS = 7 * 86_400 * SECOND_NS


class Unknown(StrEnum):
    """What kind of word it is. Closed: every kind is exported and documented."""

    UNIT = "unit"
    TOKEN = "token_type"
    KIND = "kind"
    OUTCOME = "outcome"


_SAID = {
    Unknown.UNIT: '{where} of {who} has the unit "{word}", which is not known: {count} points in {minutes} min count '
    "nowhere; write s, ms, us, {{token}} or USD",
    Unknown.TOKEN: '{where} of {who} tells tokens of the type "{word}", which is not known: {count} points in '
    "{minutes} min count nowhere; input and output are",
    Unknown.KIND: "{where} of {who} comes as {word}, of which it is not known what it adds: {count} points in "
    "{minutes} min count nowhere; send a counter or a histogram",
    Unknown.OUTCOME: 'outcome "{word}" of {who} is in no class: {count} sessions in {minutes} min are unmapped and '
    "page nobody; name its class under outcomes: in a rule file",
}


@dataclass
class Heard:
    """How often a word came since when, and whether it was told."""

    since_ns: int
    count: float
    told: bool = False


class Words:
    """The words. A key is a kind, where the word stood, the word itself and who sent it."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str, str, str], Heard] = {}
        self._due_ns = NEVER_NS  # When the next of them is to be told.

    def note(self, kind: Unknown, where: str, word: str, who: str, time_ns: int, count: float = 1.0) -> None:
        """A word came."""
        key = (str(kind), where, word, who)
        heard = self.heard.get(key)
        if heard is None:
            if len(self.heard) >= UNKNOWN_WORDS_MAX:
                old = (key for key, one in self.heard.items() if one.told and time_ns - one.since_ns > WEEK_NS)
                if (told := next(old, None)) is None:
                    return
                del self.heard[told]
            heard = self.heard[key] = Heard(time_ns, 0.0)
            self._due_ns = min(self._due_ns, time_ns + GATHER_NS)
        heard.count += count

    def due(self, now_ns: int) -> Iterator[str]:
        """A line for each word that by this event time has come for long enough and was not told yet."""
        if now_ns < self._due_ns:
            return
        due = [(key, one) for key, one in self.heard.items() if not one.told and now_ns - one.since_ns >= GATHER_NS]
        for number, ((kind, where, word, who), heard) in enumerate(due):
            heard.told = True
            if number < TICKETS_MAX:
                yield _SAID[Unknown(kind)].format(
                    where=where, word=word, who=who or "a sender without a name", count=f"{heard.count:.0f}",
                    minutes=GATHER_NS // SECOND_NS // 60,
                )  # fmt: skip
        if len(due) > TICKETS_MAX:
            yield f"{len(due) - TICKETS_MAX} more words that no table knows came in {GATHER_NS // SECOND_NS // 60} min"
        self._look_ahead()

    def _look_ahead(self) -> None:
        self._due_ns = min((one.since_ns + GATHER_NS for one in self.heard.values() if not one.told), default=NEVER_NS)

    def state(self) -> list[Any]:
        """What `resume` takes, fit for JSON."""
        return [[*key, one.since_ns, one.count, one.told] for key, one in self.heard.items()]

    @classmethod
    def resume(cls, state: list[Any]) -> "Words":
        words = cls()
        for *key, since_ns, count, told in state:
            kind, where, word, who = key
            words.heard[kind, where, word, who] = Heard(since_ns, count, told)
        words._look_ahead()
        return words
