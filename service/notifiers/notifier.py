"""What Tocsin knows of a way to tell people, and how it finds one: a module of `service/notifiers/` with a `NOTIFIER`.

Settings, rule files, outbox and senders read this and name no notifier. So a new one is one new file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

import service.notifiers
from alertrules.notice import Notice
from alertrules.rules import Written
from service.config.setting_types import Section
from service.notifiers.inbound import Inbound
from service.notifiers.request import Habit, HttpRequest, Outcome, Pace


class Target(Protocol):
    """One place that can be told: where it is, and the secrets that lead there."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Everything that makes it another place, secrets among it; the outbox keeps a hash."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log and no answer may repeat."""

    @property
    def place(self) -> str:
        """Where it is, for people, and nothing secret."""


@dataclass(frozen=True)
class Notifier:
    """One way to tell people. `Any` below is its own settings, words or target.

    settings      what the environment says of it: `TOCSIN_<module's name>__…`
    words         what a receiver of a rule file says of it
    targets       the places that a receiver's words mean, or, for None, those of a receiver that names nothing; empty
                  where nothing is set. Raises ValueError that names the setting which the words need
    every         every place that the settings know, whether or not a receiver names it
    pace, habit   how fast it takes deliveries, and how it is told of much at once
    render        the request to send, or the lines to print
    render_least  the least that still tells: tried once where the whole was found malformed
    outcome       what an answer means: (status, headers, body, now_ns, target)
    inbound       what the vendor sends back of what people do there; None where it sends nothing
    """

    settings: type[Section]
    words: type[Written]
    targets: Callable[[Any, Any], tuple[Target, ...]]
    every: Callable[[Any], tuple[Target, ...]]
    pace: Pace
    habit: Habit
    render: Callable[[Notice, Any], HttpRequest | tuple[str, ...]]
    render_least: Callable[[Notice, Any], HttpRequest | tuple[str, ...]]
    outcome: Callable[[int, Mapping[str, str], str, int, Any], Outcome]
    inbound: Inbound | None = None


def notifiers() -> dict[str, Notifier]:
    """Every notifier there is, by its module's name."""
    found = {one.name: notifier_of(one.name) for one in iter_modules(service.notifiers.__path__)}
    return {kind: notifier for kind, notifier in sorted(found.items()) if notifier}


def notifier_of(kind: str) -> Notifier | None:
    """The notifier in the module of that name; None where the module has none."""
    notifier: Notifier | None = getattr(import_module(f"service.notifiers.{kind}"), "NOTIFIER", None)
    return notifier


def inbounds(settings: Section) -> list[tuple[Inbound, str]]:
    """What vendors send back, with the secret of each; those without one are left out."""
    found = [(one.inbound, getattr(settings, kind)) for kind, one in notifiers().items() if one.inbound]
    return [(inbound, secret) for inbound, section in found if (secret := inbound.secret(section))]


def words() -> dict[str, type[Written]]:
    """What a receiver of a rule file may say, by notifier."""
    return {kind: notifier.words for kind, notifier in notifiers().items()}
