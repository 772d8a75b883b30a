"""What a person says of a page or of series: that it was real, noise, expected, or the new normal.

    incident    the page was right; nothing else changes
    noise       the page was false: the series needs more evidence for some weeks, and learns from today after all
    expected    a maintenance window: until it ends the series is neither judged nor learnt
    new_normal  the series starts to learn afresh

`noise`, `expected` and `new_normal` close an open alert. Every mark is kept with who said it and when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from alertrules.lifecycle import Labels, labels_from
from alertrules.quantities import duration_ns
from alertrules.wording import clean, utc
from detectors.core.columns import SECOND_NS

ID_DIGITS_MIN = 8
"""So much of an alert's id names it."""
WINDOW_MAX_NS = 30 * 86_400 * SECOND_NS
TEXT_LENGTH_MAX = 500
KEYS = ("mark", "alert", "rule", "series", "from", "for", "by", "note")


class Kind(StrEnum):
    INCIDENT = "incident"
    NOISE = "noise"
    EXPECTED = "expected"
    NEW_NORMAL = "new_normal"


@dataclass(frozen=True)
class Mark:
    """One such word. It names one alert, open or closed, or series of a rule by some of their labels.

    from_ns, until_ns  event time of the window; 0 unless `expected`
    """

    kind: Kind
    alert: str
    rule: str
    series: Labels
    from_ns: int
    until_ns: int
    said_ns: int
    by: str
    note: str

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """Whether any of this time is in the window: what began in a minute before the mark is not told apart."""
        return self.kind is Kind.EXPECTED and self.from_ns < end_ns and start_ns < self.until_ns

    def covers(self, names: Sequence[str], values: Sequence[str]) -> bool:
        """Whether a series with these labels is meant."""
        have = dict(zip(names, values, strict=True))
        return all(have.get(name, "") == value for name, value in self.series)


def mark_from(written: object, rules: Mapping[str, Sequence[str]], now_ns: int) -> Mark:
    """The mark that a request means. `rules` has the labels of each rule's series, by its name.

    Raises ValueError with a sentence that says what was read and what to write instead.
    """
    if not isinstance(written, Mapping):
        raise ValueError('a mark is an object; write {"mark": "noise", "alert": "1f0c…"}')
    if unknown := [str(key)[:80] for key in written if key not in KEYS]:
        raise ValueError(f'"{unknown[0]}" is no field of a mark; there are {", ".join(KEYS)}')
    kind = _kind(written.get("mark"))
    alert, rule, series = said(written, "alert").lower(), said(written, "rule"), labels_said(written, "series")
    if bool(alert) == bool(rule):
        raise ValueError('write either "alert", the id that the page shows, or "rule" and perhaps "series"')
    if alert and (len(alert) < ID_DIGITS_MIN or set(alert) - set("0123456789abcdef") or series):
        raise ValueError(f'"{alert[:80]}": an alert is named by the first {ID_DIGITS_MIN} or more hex digits of its id')
    if rule and kind in (Kind.INCIDENT, Kind.NOISE):
        raise ValueError(f'"{kind}" is said of one page; write its "alert"')
    if rule and rule not in rules:
        raise ValueError(f'"{rule[:80]}" is no rule; there are {", ".join(rules)}')
    for name, _ in series:
        if name not in rules[rule]:
            raise ValueError(f'"{name[:80]}" is not a label of this rule\'s series; they have {", ".join(rules[rule])}')
    from_ns, until_ns = _window(written, kind, now_ns)
    return Mark(kind, alert, rule, series, from_ns, until_ns, now_ns, said(written, "by"), said(written, "note"))


def _kind(written: object) -> Kind:
    for kind in Kind:
        if written == kind.value:
            return kind
    raise ValueError(f"{written!r:.80} is not one of {', '.join(kind.value for kind in Kind)}")


def said(written: Mapping[str, Any], key: str) -> str:
    """A text of a request, cleaned; empty where it is missing. Raises ValueError."""
    text = written.get(key, "")
    if not isinstance(text, str):
        raise ValueError(f"{key}: {text!r:.80} is not text")
    return clean(text, TEXT_LENGTH_MAX)


def labels_said(written: Mapping[str, Any], key: str) -> Labels:
    """The labels of a request; none where they are missing. Raises ValueError."""
    labels = written.get(key, {})
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError(f'{key}: {labels!r:.80} is not an object of texts; write {{"agent": "support"}}')
    return tuple(sorted((str(name), value) for name, value in labels.items()))


def _window(written: Mapping[str, Any], kind: Kind, now_ns: int) -> tuple[int, int]:
    if kind is not Kind.EXPECTED:
        if written.get("for") or written.get("from"):
            raise ValueError(f'"{kind}" has no "from" and no "for"; only "expected" is a window of time')
        return 0, 0
    length_ns, from_ns = window_length(written.get("for")), moment(written, now_ns)
    if from_ns + length_ns <= now_ns:
        raise ValueError(
            f"this window ended at {utc(from_ns + length_ns)}: what was learnt of it stays; write a later from, or a "
            "longer for"
        )
    return from_ns, from_ns + length_ns


def window_length(written: object) -> int:
    """The length of a window of time, in nanoseconds. Raises ValueError."""
    length_ns = duration_ns(written)
    if not 0 < length_ns <= WINDOW_MAX_NS:
        raise ValueError(f"for: {written!r:.80}: a window is longer than nothing and at most 30d; write 2h")
    return length_ns


def moment(written: Mapping[str, Any], now_ns: int, key: str = "from") -> int:
    """The time that stands under a key, else now. Raises ValueError."""
    begins = said(written, key)
    if not begins:
        return now_ns
    try:
        time = datetime.fromisoformat(begins)
        from_ns = int(time.astimezone(UTC).timestamp()) * SECOND_NS
    except (ValueError, OverflowError):
        raise ValueError(f'{key}: "{begins:.80}" is not a time; write 2026-01-31T18:00:00Z') from None
    if time.tzinfo is None:  # The zone of this host may be nobody's.
        raise ValueError(f'{key}: "{begins:.80}" has no zone; write 2026-01-31T18:00Z or 2026-01-31T18:00+01:00')
    return from_ns


def packed(mark: Mark) -> dict[str, Any]:
    """The mark as JSON knows it."""
    return asdict(mark)


def unpacked(fields: Mapping[str, Any]) -> Mark:
    """The mark that `packed` gave."""
    return Mark(**{**fields, "kind": Kind(fields["kind"]), "series": labels_from(fields["series"])})
