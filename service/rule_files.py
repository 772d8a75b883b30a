"""The rule files of a running daemon: read at the start, and again when somebody asks, or when they have changed.

New rules are checked as a whole, with the destinations that they name. Where anything is wrong those of before stay.
"""

import asyncio
import logging
import os
import time
from pathlib import Path

from alertrules.checked import odd
from alertrules.parse import PACKS, RuleErrors, RuleSet, load, rule_files
from service.config.settings import Settings
from service.delivery.client import authorities
from service.notifiers.destination import LAST_RESORT, Addresses, Destination, addresses
from service.notifiers.notifier import words

log = logging.getLogger("tocsin")

FILES_LOOK_EVERY_S = 5.0
Seen = tuple[tuple[str, int, int], ...]


class RulesError(ValueError):
    """Why the files cannot be used: a line a problem."""


def read(settings: Settings) -> RuleSet:
    """The rules of the settings' files, or the shipped ones. Raises RulesError."""
    try:
        rules = load(list(map(Path, settings.rules)) or [PACKS], words())
    except RuleErrors as errors:
        raise RulesError(str(errors)) from None
    if not rules.rules:
        places = ", ".join(settings.rules)
        raise RulesError(
            f"there is no rule in {places}, so nothing would ever page; write one, or leave TOCSIN_RULES out for the "
            "shipped ones"
        )
    for problem, never in odd(rules):
        log.warning("%s: %s", "can never page" if never else "odd", problem)
    return rules


def told(rules: RuleSet, settings: Settings) -> Addresses:
    """Who is told. Raises ValueError naming the setting that a receiver of the rules lacks, or that leads nowhere."""
    authorities(os.environ)
    return addresses(map(rules.receiver, rules.route.receivers()), settings.notifiers)


def announce(destinations: tuple[Destination, ...]) -> None:
    """Say in the log who is told."""
    for destination in destinations:
        log.info("told: %s, which is %s", destination.name, destination.target.place)
    if all(destination.kind == LAST_RESORT for destination in destinations):
        log.warning("nobody is paged: no destination is set, pages are printed here")


class RuleFiles:
    """What the files said when they were last read, and who waits for them to be read again.

    is_current  whether the last reading was taken over; `read_s` when one last was, in Unix time
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_current, self.read_s = True, time.time()
        self._asked: list[asyncio.Future[str]] = []
        self._seen = _seen(settings)
        self._looked_s = time.monotonic()

    def ask(self) -> "asyncio.Future[str]":
        """Have them read before the next step. The answer says what became of it; RulesError where they are wrong."""
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        return asked

    def is_due(self) -> bool:
        """Whether somebody asked, or a file has changed since the last look."""
        if self._asked:
            return True
        if not self.settings.rules_watch or time.monotonic() - self._looked_s < FILES_LOOK_EVERY_S:
            return False
        self._looked_s = time.monotonic()
        return _seen(self.settings) != self._seen

    def read(self) -> tuple[RuleSet, Addresses]:
        """The rules and who is told. Raises RulesError."""
        self._seen = _seen(self.settings)
        rules = read(self.settings)
        try:
            return rules, told(rules, self.settings)
        except ValueError as error:
            raise RulesError(str(error)) from None

    def taken(self, message: str) -> None:
        """They are in use from now on."""
        log.info("rules were read again: %s", message)
        self.is_current, self.read_s = True, time.time()
        self._answer(message)

    def refused(self, error: Exception) -> None:
        """They cannot be used: those of before stay."""
        log.error("the rules that were read again are not used, those of before stay:\n%s", error)
        self.is_current = False
        self._answer(error)

    def _answer(self, what: str | Exception) -> None:
        asked, self._asked = self._asked, []
        for one in asked:
            if one.done():
                continue
            if isinstance(what, Exception):
                one.set_exception(RulesError(str(what)))
                one.exception()  # Whoever asked by a signal waits for no answer.
            else:
                one.set_result(what)


def _seen(settings: Settings) -> Seen:
    """Names, sizes and times of all files, as far as they can be seen."""
    found = []
    for place in map(Path, settings.rules):
        try:
            status = {str(path): path.stat() for path in rule_files([place])}
        except OSError:  # A folder or file that goes just now: the next look sees what is left.
            continue
        found += [(name, one.st_size, one.st_mtime_ns) for name, one in status.items()]
    return tuple(found)
