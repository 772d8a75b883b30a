"""Destinations: what a rule file's receiver means with the keys and URLs that the settings hold."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alertrules.notice import Notice
from alertrules.receivers import Receiver
from service.config.setting_types import Section
from service.notifiers.notifier import Notifier, Target, notifier_of, notifiers
from service.notifiers.request import Habit, HttpRequest, Outcome, Pace, scrubbed

LAST_RESORT = "terminal"
"""The notifier of a receiver for which no other is set."""


@dataclass(frozen=True)
class Destination:
    """One receiver's one way to be told. `name` is for people: what it *is*, in the outbox too, is its target."""

    name: str
    target: Target

    @property
    def identity(self) -> str:
        """A hash of where it leads: the same whatever the receiver is called, and not a secret."""
        return hashlib.sha256(json.dumps(self.target.identity).encode()).hexdigest()[:32]

    @property
    def kind(self) -> str:
        """Its notifier's name."""
        return self.target.identity[0]

    @property
    def notifier(self) -> Notifier:
        found = notifier_of(self.kind)
        assert found is not None, "a notifier made the target"
        return found

    @property
    def pace(self) -> Pace:
        return self.notifier.pace

    @property
    def habit(self) -> Habit:
        return self.notifier.habit

    def render(self, notice: Notice) -> HttpRequest | tuple[str, ...]:
        """The request to send, or the lines to print."""
        return self.notifier.render(notice, self.target)

    def render_least(self, notice: Notice) -> HttpRequest | tuple[str, ...]:
        """The least that still tells."""
        return self.notifier.render_least(notice, self.target)

    def outcome(self, status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
        """What an answer means. What it echoes of our secrets is no part of what it said."""
        return self.notifier.outcome(status, headers, self.without_secrets(body), now_ns, self.target)

    def without_secrets(self, text: str) -> str:
        return scrubbed(text, self.target.secrets)


def destinations(receiver: Receiver, settings: Section) -> tuple[Destination, ...]:
    """Where a receiver's notices go; `settings` has a section a notifier. Raises ValueError as `Notifier.targets` does.

    A receiver that names nothing is told everywhere that the settings know without a name, else on the terminal.
    """
    every, named = notifiers(), receiver.named()
    found: list[Destination] = []
    for kind, notifier in every.items():
        for words in named.get(kind, ()) if named else (None,):
            try:
                targets = notifier.targets(getattr(settings, kind), words)
            except ValueError as error:
                raise ValueError(f'receiver "{receiver.name}": {error}') from None
            found += [Destination(f"{receiver.name}/{kind}", target) for target in targets]
    if not found:
        found += [Destination(f"{receiver.name}/{LAST_RESORT}", one) for one in every[LAST_RESORT].every(None)]
    return _named_apart(found)


@dataclass(frozen=True)
class Addresses:
    """Where each receiver leads. A place to which several lead is one destination, named by the first of them."""

    by_receiver: Mapping[str, tuple[Destination, ...]]

    @property
    def all(self) -> tuple[Destination, ...]:
        """Every destination, once."""
        return tuple({one.identity: one for of in self.by_receiver.values() for one in of}.values())

    def of(self, receiver: str) -> tuple[Destination, ...]:
        """Where a receiver leads; nowhere for a name that is not known."""
        return self.by_receiver.get(receiver, ())


def addresses(receivers: Iterable[Receiver], settings: Section) -> Addresses:
    """Where all of these lead. Raises ValueError as `destinations` does."""
    known: dict[str, Destination] = {}
    by_receiver = {}
    for receiver in receivers:
        found = destinations(receiver, settings)
        by_receiver[receiver.name] = tuple(known.setdefault(one.identity, one) for one in found)
    return Addresses(by_receiver)


def known(settings: Section) -> tuple[Destination, ...]:
    """Every destination that the settings hold a key or hook for, whether or not a receiver names it."""
    return tuple(
        Destination(f"former/{kind}", target)
        for kind, notifier in notifiers().items()
        if kind != LAST_RESORT
        for target in notifier.every(getattr(settings, kind))
    )


def _named_apart(found: list[Destination]) -> tuple[Destination, ...]:
    """Several of one kind are numbered, as names are labels of metrics; one place is told once."""
    once = list({one.identity: one for one in found}.values())
    counts: dict[str, int] = {}
    apart = []
    for one in once:
        receiver, _, kind = one.name.rpartition("/")
        counts[kind] = number = counts.get(kind, 0) + 1
        name = one.name if number == 1 else f"{receiver}/{number}/{kind}"
        apart.append(Destination(name, one.target))
    return tuple(apart)
