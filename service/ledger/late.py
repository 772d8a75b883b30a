"""Outcomes of sessions that come late: "resolved at 7 days", a survey, thumbs, a ticket that was opened again.

One says what came of a session, at a time, in a word, a number, or as a yes or no. Whether it is good is what its
sender says, else what its words mean by the classes of outcomes; of a number without that nobody knows.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from alertrules.marks import moment
from alertrules.outcome_classes import Outcomes
from alertrules.wording import clean, utc
from detectors.core.columns import SECOND_NS
from service.ingest.metrics.sums import NOT_PASSED, PASSED
from service.ingest.otlp.points import Evaluation

LATE_KEYS = ("session", "trace", "outcome", "value", "at", "good", "source")
LATE_EXAMPLE = '{"session": "conv_1", "outcome": "resolved_7d", "value": true, "at": "2026-01-31T18:00:00Z"}'
LATE_AT_ONCE = 10_000
WORD_MAX, NUMBER_MOST, ID_MAX = 64, 2.0**53, 1_000
"""Letters of a value, a name or a source: they are words, and no place for what somebody wrote."""
LATE_AHEAD_NS = 300 * SECOND_NS


class Result(StrEnum):
    """What became of a late outcome. Closed."""

    JOINED = "joined"  # Its session is in the record.
    CONTRADICTING = "contradicting"  # The same, and another value of that name is known: the latest holds.
    WAITING = "waiting"  # No such session yet: it may still be open. Once it closes this is joined, too.
    REPEATED = "repeated"  # The same session, name, value and time: counted once.
    TOO_OLD = "too_old"  # From before what the record keeps.
    MALFORMED = "malformed"
    UNKNOWN = "unknown"  # Its session did not come while this waited.
    FULL = "full"  # Too many wait, or are kept: the one that came first gave way.


class Late(NamedTuple):
    """One late outcome.

    session  the session's id, and `trace` that of a trace of it, in hexadecimal digits; one of the two
    value    as text; `number` where it is one, else NaN
    good     None where nobody knows
    counted  whether a series has counted it already
    """

    session: str
    trace: str
    name: str
    value: str
    number: float
    good: bool | None
    at_ns: int
    source: str
    counted: bool = False


class Problem(NamedTuple):
    """What is wrong with the item of that number, from 0 on."""

    item: int
    said: str


def late_from(written: object, now_ns: int, outcomes: Outcomes) -> tuple[list[Late], list[Problem]]:
    """The late outcomes of a request, one or a list, and what is wrong with the others.

    Raises ValueError where it is neither, or too long.
    """
    items = written if isinstance(written, list) else [written]
    if len(items) > LATE_AT_ONCE:
        raise ValueError(f"{len(items)} outcomes; send at most {LATE_AT_ONCE} at once")
    found, problems = [], []
    for number, item in enumerate(items):
        try:
            found.append(_one(item, now_ns, outcomes))
        except ValueError as error:
            problems.append(Problem(number, str(error)))
    return found, problems


def late_in(bodies: Sequence[bytes], now_ns: int, outcomes: Outcomes) -> tuple[list[Late], dict[int, list[Problem]]]:
    """The late outcomes of several bodies of JSON, and of those with something wrong what that is, by their place."""
    found, wrong = list[Late](), dict[int, list[Problem]]()
    for place, body in enumerate(bodies):
        try:
            good, problems = late_from(json.loads(body), now_ns, outcomes)
        except (ValueError, RecursionError) as error:
            good, problems = [], [Problem(0, f"not outcomes in JSON: {error}")]
        found += good
        if problems:
            wrong[place] = problems
    return found, wrong


def _one(item: object, now_ns: int, outcomes: Outcomes) -> Late:
    if not isinstance(item, Mapping):
        raise ValueError(f"an outcome is an object; write {LATE_EXAMPLE}")
    if unknown := [str(key)[:80] for key in item if key not in LATE_KEYS]:
        raise ValueError(f'"{unknown[0]}" is not a field of an outcome; there are {", ".join(LATE_KEYS)}')
    session, trace = (_word(item, name, ID_MAX) for name in ("session", "trace"))
    if bool(session) == bool(trace):
        raise ValueError(f"one of session and trace names what it is of; write {LATE_EXAMPLE}")
    if trace and (len(trace) != 32 or not set(trace.lower()) <= set("0123456789abcdef")):
        raise ValueError(f'trace: "{trace:.40}" is not the 32 hexadecimal digits of a trace\'s id')
    name = _word(item, "outcome", WORD_MAX)
    if not name:
        raise ValueError(f'"outcome" is missing, what the value is of; write {LATE_EXAMPLE}')
    good = item.get("good")
    if good is not None and not isinstance(good, bool):
        raise ValueError(f"good: {good!r:.40} is not true or false")
    value, number, meant = _value(item.get("value"), name, outcomes)
    at_ns = _time(item, now_ns)
    return Late(
        session, trace.lower(), name, value, number, meant if good is None else good, at_ns,
        _word(item, "source", WORD_MAX),
    )  # fmt: skip


def _word(item: Mapping[object, object], name: str, length_max: int) -> str:
    text = item.get(name, "")
    if not isinstance(text, str) or len(text) > length_max:
        raise ValueError(f"{name}: expected a text of at most {length_max} characters; a comment has no place here")
    return text if name in ("session", "trace") else clean(text, length_max)


def _value(value: object, name: str, outcomes: Outcomes) -> tuple[str, float, bool | None]:
    """A value as text and as a number, and whether it is good by itself."""
    if isinstance(value, bool):
        place = outcomes.place(name)  # That a session was "reopened" is bad if it is true.
        is_bad = outcomes.goods <= place < outcomes.unmapped
        return str(value).lower(), math.nan, value is not is_bad
    if isinstance(value, int | float):
        if not abs(value) <= NUMBER_MOST:
            raise ValueError(f"value: {value!r:.40} is too large")
        return f"{value:.9g}", float(value), None
    if isinstance(value, str) and value.strip() and len(value) <= WORD_MAX:
        return clean(value, WORD_MAX), math.nan, good_by_words(value, outcomes)
    raise ValueError(f"value: expected true, false, a number, or a word of at most {WORD_MAX} characters")


def good_by_words(value: str, outcomes: Outcomes) -> bool | None:
    """Whether a value is good, by what its words mean."""
    word = value.strip().lower()
    if word in PASSED or word in NOT_PASSED:
        return word in PASSED
    place = outcomes.place(value)
    return None if place == outcomes.unmapped else place < outcomes.goods


def _time(item: Mapping[object, object], now_ns: int) -> int:
    at = item.get("at")
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 2**33:
        at_ns = round(at * SECOND_NS)
    elif isinstance(at, str) and at.strip():
        at_ns = moment({"at": at}, now_ns, "at")
    else:
        raise ValueError("at: when it became known; write 2026-01-31T18:00:00Z, or Unix seconds")
    if at_ns > now_ns + LATE_AHEAD_NS:
        raise ValueError(f"at: {utc(at_ns)} is in the future")
    return at_ns


def evaluated(evaluations: Sequence[Evaluation], now_ns: int, outcomes: Outcomes) -> Iterator[Late]:
    """Those evaluations that say of which session they are. A series has counted them already."""
    for each in evaluations:
        session, trace = each.session, each.trace
        if not (session or trace) or not each.name or each.time_ns > now_ns + LATE_AHEAD_NS:
            continue
        has_score = each.score == each.score
        if not (each.said or has_score):
            continue
        value = clean(each.said, WORD_MAX) if each.said else f"{each.score:.9g}"
        good = good_by_words(each.said, outcomes) if each.said else None
        yield Late(
            session[:ID_MAX], "" if session else trace, clean(each.name, WORD_MAX), value, each.score, good,
            each.time_ns, "evaluation", counted=True,
        )  # fmt: skip


def summed(results: Counter[Result]) -> str:
    """What became of many, in words."""
    return ", ".join(f"{count} {result.value.replace('_', ' ')}" for result, count in results.items() if count)
