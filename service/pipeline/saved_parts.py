"""The parts of saved state, each with a version: an older program goes on with those it knows, and says what is lost.

A part's version grows when a program that knows the version before could not go on from it. Where a program meets a
version that it does not know, it begins that part anew, and that one alone. How parts lie in a state never changes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from alertrules.ledger import Ledger
from detectors.core.columns import Arrays
from detectors.core.descriptor import modules


@dataclass(frozen=True)
class Part:
    """What is written of a part, and read.

    version  that is written; `oldest` is the oldest that is read
    loses    what begins anew without it
    """

    version: int
    oldest: int
    loses: str


class Unread(NamedTuple):
    """A part of a version that this program does not know."""

    name: str
    version: int
    known: int
    loses: str

    def __str__(self) -> str:
        return f"{self.name} (version {self.version}, known up to {self.known}): {self.loses}"


PARTS: Mapping[str, Part] = {
    "views": Part(1, 1, "all rules learn anew, and their open alerts are closed"),
    "alerts": Part(1, 1, "what is open is told again if it still holds; what has ended stays open where it was told"),
    "marks": Part(1, 1, "what people said is gone: marks, silences, maintenance windows, and what rules have cost"),
    "spend": Part(1, 1, "dollars an hour count from now"),
    "causes": Part(1, 1, "pages of the next hours name no causes"),
    "news": Part(1, 1, "pages of the next hours name no changes that came before"),
    **{
        f"detector {kind}": Part(described.version, 1, f"rules with `detector: {kind}` learn anew")
        for kind, described in modules().items()
    },
}
"""All but the first stage's, which says its own."""
OUTBOX = "notices that waited to be sent are not sent"
UNKNOWN = "this program has no such part"


def kind_of(detector: str) -> str:
    """The part that a rule's detector is of.

    >>> kind_of("river.ADWIN")
    'detector river'
    """
    return f"detector {detector.partition('.')[0]}"


def versions(first: Mapping[str, Part], detectors: Iterable[str]) -> dict[str, int]:
    """What a state says of its parts: the version of each, and of the detectors that are in use."""
    used = {kind_of(one) for one in detectors}
    known = {**first, **PARTS}
    return {name: part.version for name, part in known.items() if not name.startswith("detector ") or name in used}


def unread(first: Mapping[str, Part], written: Mapping[str, Any]) -> dict[str, Unread]:
    """The parts that cannot be read, by name; none where a state says nothing of its parts, as those before did."""
    known, found = {**first, **PARTS}, {}
    for name, version in written.items():
        part = known.get(name, Part(0, 0, UNKNOWN))
        if type(version) is not int or not part.oldest <= version <= part.version or not part.version:
            found[name] = Unread(name, int(version) if type(version) is int else -1, part.version, part.loses)
    return found


def without(arrays: Arrays, alerts: Mapping[str, Any], names: Collection[str]) -> tuple[Arrays, dict[str, Any]]:
    """A state's arrays and alerts without these parts, so that what reads it begins them anew."""
    gone = tuple(f"{place}/" for place, part in (("causes", "causes"), ("detect//spend", "spend")) if part in names)
    left = {name: array for name, array in arrays.items() if not name.startswith(gone)} if gone else arrays
    rules = {name: _rule_without(saved, names) for name, saved in alerts["detect"].items()}
    router = alerts["router"]
    if "marks" in names:
        router = {**router, "silences": ()}
    if "alerts" in names:
        router = {"groups": (), "held": (), "silences": router.get("silences", ()), "at_ns": router.get("at_ns", 0)}
    news = None if "news" in names else alerts.get("news")
    return left, {**alerts, "detect": rules, "router": router, "news": news}


def _rule_without(saved: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    rule = dict(saved)
    if "views" in names or saved.get("part") in names:
        rule["fingerprint"] = ""  # As if the rule had been another one: it learns anew, and its alerts are closed.
    if "alerts" in names:
        rule["alerts"] = ()
    if "marks" in names:
        rule["ledger"] = Ledger().state()
    return rule
