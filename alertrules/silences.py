"""Silences: for a while nobody is told of alerts with these labels, whatever their rule. And acknowledgements.

A silence holds in event time, from the moment at which it was taken in: what waits to be told is silenced, too. An
alert that still fires as its silence ends is told then. What was told before a silence is still told as ended.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from alertrules.groups import digest
from alertrules.marks import ID_DIGITS_MIN, moment, said, window_length
from alertrules.matchers import matchers_of, text_of
from alertrules.notice import Notice
from alertrules.select import Matcher, Matchers, Operator, accept
from alertrules.wording import utc
from detectors.core.columns import SECOND_NS

ACKNOWLEDGED_MAX = 100
"""Alerts that one acknowledgement names."""
SILENCES_MAX = 1_000
"""Silences that hold or are to come."""
REMEMBERED_NS = 5 * 86_400 * SECOND_NS
"""For how long one that is over is listed."""
STATES = ("pending", "active", "expired")
KEYS = ("matchers", "for", "from", "by", "why")
_SHOWN_MAX = 10
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@"


@dataclass(frozen=True)
class Silence:
    """One silence. `from_ns` and `until_ns` are event time, `said_ns` is Unix time."""

    silence_id: str
    matchers: Matchers
    from_ns: int
    until_ns: int
    said_ns: int
    by: str
    why: str

    def state(self, at_ns: int) -> str:
        """`pending`, `active` or `expired`, as Alertmanager calls it."""
        return "pending" if at_ns < self.from_ns else "active" if at_ns < self.until_ns else "expired"

    def __str__(self) -> str:
        said_by = f", {self.by}" if self.by else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.silence_id} {text_of(self.matchers)} until {utc(self.until_ns)}{said_by}{why}"


@dataclass(frozen=True)
class End:
    """A silence is to end now."""

    silence_id: str


@dataclass(frozen=True)
class Acknowledgement:
    """Somebody looks into an incident, or does not any more.

    targets  the first digits of an alert's id, or those of a group
    by       who says so
    """

    targets: tuple[str, ...]
    by: str
    said_ns: int
    is_taken_back: bool = False


Word = Silence | End | Acknowledgement
"""What a person says of who is told."""


def silence_from(written: object, values: Mapping[str, Collection[str]], now_ns: int) -> Silence:
    """The silence that a request means. `values` are those that each label has, in any series or rule.

    Raises ValueError with a sentence that says what was read and what to write instead.
    """
    if not isinstance(written, Mapping):
        raise ValueError(
            'a silence is an object; write {"matchers": ["agent=support"], "for": "2h", "why": "a deploy"}'
        )
    if unknown := [str(key)[:80] for key in written if key not in KEYS]:
        raise ValueError(f'"{unknown[0]}" is not a field of a silence; there are {", ".join(KEYS)}')
    try:
        matchers = matchers_of(written.get("matchers", []))
    except ValueError as error:
        raise ValueError(f"matchers: {error}") from None
    for matcher in matchers:
        _check(matcher, values)
    if all(matcher.accepts("") for matcher in matchers):
        raise ValueError("this would silence everything; write at least one label's value, as agent=support")
    length_ns = window_length(written.get("for"))
    from_ns = moment(written, now_ns)
    if from_ns + length_ns <= now_ns:
        raise ValueError(f"this window ended at {utc(from_ns + length_ns)}; write a later from, or a longer for")
    by, why = said(written, "by"), said(written, "why")
    number = digest("silence", text_of(matchers), from_ns, length_ns, now_ns, by, why)
    return Silence(number[:12], matchers, from_ns, from_ns + length_ns, now_ns, by, why)


def _check(matcher: Matcher, values: Mapping[str, Collection[str]]) -> None:
    """Raise ValueError for a label, or a value, that no alert can have."""
    if matcher.label not in values:
        raise ValueError(f'"{matcher.label[:80]}" is not a label; there are {", ".join(sorted(values))}')
    if matcher.operator in (Operator.NOT_EQUAL, Operator.NOT_REGEX) or matcher.accepts(""):
        return
    have = sorted(value for value in values[matcher.label] if value)
    if not any(matcher.accepts(value) for value in have):
        more = f" and {len(have) - _SHOWN_MAX} more" if len(have) > _SHOWN_MAX else ""
        there = f"there are {', '.join(have[:_SHOWN_MAX])}{more}" if have else "nothing with that label was seen yet"
        raise ValueError(f"no {matcher.label} that was seen matches {matcher}; {there}")


def silence_id_from(text: str) -> str:
    """The id that a person wrote. Raises ValueError where it cannot be one."""
    if len(text) < ID_DIGITS_MIN or set(text) - set("0123456789abcdef"):
        raise ValueError(f'"{text[:80]}": a silence is named by the first {ID_DIGITS_MIN} or more digits of its id')
    return text


def acknowledgement_from(written: object, now_ns: int) -> Acknowledgement:
    """The acknowledgement that a request means. Raises ValueError with a sentence."""
    if not isinstance(written, Mapping) or set(written) - {"alert", "alerts", "by", "is_taken_back"}:
        raise ValueError('an acknowledgement is an object; write {"alert": "1f0c3a2b", "by": "anna"}')
    alerts = written.get("alerts", [])
    named = [said(written, "alert")] if written.get("alert") else alerts if isinstance(alerts, list) else []
    if not 0 < len(named) <= ACKNOWLEDGED_MAX:
        raise ValueError(f'"alert" is missing, the id that a page shows; or "alerts", at most {ACKNOWLEDGED_MAX}')
    targets = tuple(str(one).lower() for one in named)
    for target in targets:
        if len(target) < ID_DIGITS_MIN or set(target) - set("0123456789abcdef"):
            digits = f"the first {ID_DIGITS_MIN} or more hex digits of its id"
            raise ValueError(f'"{target[:80]}": an alert is named by {digits}')
    is_taken_back = written.get("is_taken_back", False) is True
    return Acknowledgement(targets, said(written, "by") or "somebody", now_ns, is_taken_back)


class Silences:
    """All silences, by id, those that were over long ago forgotten."""

    def __init__(self) -> None:
        self.all: dict[str, Silence] = {}

    def add(self, silence: Silence, at_ns: int) -> Silence:
        """Take one in: one that begins now holds from the present moment of event time on. Raises ValueError."""
        self.all = {name: one for name, one in self.all.items() if at_ns - one.until_ns < REMEMBERED_NS}
        if sum(one.state(at_ns) != "expired" for one in self.all.values()) >= SILENCES_MAX:
            raise ValueError(f"there are {SILENCES_MAX} silences; end one first")
        if silence.from_ns <= silence.said_ns:
            silence = replace(silence, from_ns=min(silence.from_ns, at_ns))
        self.all[silence.silence_id] = silence
        return silence

    def end(self, silence_id: str, at_ns: int) -> Silence:
        """End one now. Raises ValueError where there is not one of that id that holds or is to come."""
        found = [one for name, one in self.all.items() if name.startswith(silence_id)]
        found = [one for one in found if one.state(at_ns) != "expired"]
        if len(found) != 1:
            raise ValueError(f'{len(found) or "no"} silences begin with "{silence_id}"; see tocsin silence list')
        ended = replace(found[0], until_ns=max(min(at_ns, found[0].until_ns), 1))
        self.all[ended.silence_id] = replace(ended, from_ns=min(ended.from_ns, ended.until_ns))
        return found[0]

    def active(self, at_ns: int) -> tuple[Silence, ...]:
        """Those that hold."""
        return tuple(one for one in self.all.values() if one.state(at_ns) == "active")

    def snapshot(self) -> list[dict[str, Any]]:
        """What `restore` takes, fit for JSON."""
        return [packed(one) for one in self.all.values()]

    @classmethod
    def restore(cls, saved: Collection[Mapping[str, Any]]) -> "Silences":
        """The silences of which that was taken."""
        silences = cls()
        for fields in saved:
            matchers = tuple(Matcher(label, Operator(how), value) for label, how, value in fields["matchers"])
            silences.all[fields["silence_id"]] = Silence(**{**fields, "matchers": matchers})
        return silences


def packed(silence: Silence) -> dict[str, Any]:
    """A silence as JSON knows it."""
    return asdict(silence) | {"matchers": [[one.label, one.operator.value, one.value] for one in silence.matchers]}


def silencing(silences: Collection[Silence], labels: Mapping[str, str]) -> str:
    """The id of the first of these silences that accepts the labels; empty if none does."""
    return next((one.silence_id for one in silences if accept(one.matchers, labels)), "")


def silence_matchers(notice: Notice) -> list[str]:
    """What its alerts have in common, as matchers of a silence; the rule's name where they share nothing."""
    labels = {name: value for name, value in notice.labels if name not in ("alert", "alertname", "severity")}
    shared = labels or {"alertname": notice.rule}
    return [str(Matcher(name, Operator.EQUAL, value)) for name, value in shared.items()]


def silence_command(notice: Notice, length: str = "2h") -> str:
    """A command that silences what a notice is about, ready to be pasted into a shell."""
    labels = {name: value for name, value in notice.labels if name not in ("alert", "alertname", "severity")}
    words = " ".join(_words(labels or {"alertname": notice.rule}))
    return f"tocsin silence {words} --for {length} --why '…'"


def acknowledge_command(notice: Notice) -> str:
    """A command that acknowledges the incident of a notice."""
    return f"tocsin ack {(notice.alert_ids or (notice.group,))[0][:ID_DIGITS_MIN]}"


def _words(labels: Mapping[str, str]) -> Iterator[str]:
    for name, value in labels.items():
        plain = value and set(value) <= set(_PLAIN)
        yield f"{name}={value}" if plain else shlex.quote(str(Matcher(name, Operator.EQUAL, value)))
