"""Destinations: what a rule file's receiver means with the keys and URLs that the settings hold."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from alertrules.notice import Notice
from alertrules.receivers import Receiver
from service.notifiers import pagerduty, slack, terminal
from service.notifiers.request import Delivered, Habit, HttpRequest, Outcome, Pace, scrubbed


@dataclass(frozen=True)
class Terminal:
    """Standard output: nothing to configure."""

    identity: tuple[str, ...] = ("terminal",)
    secrets: tuple[str, ...] = ()
    place: str = "the terminal"


@dataclass(frozen=True)
class Destination:
    """One receiver's one way to be told. `name` is for people: what it *is*, in the outbox too, is its target."""

    name: str
    target: slack.Target | pagerduty.Target | Terminal

    @property
    def identity(self) -> str:
        """A hash of where it leads: the same whatever the receiver is called, and no secret."""
        return hashlib.sha256(json.dumps(self.target.identity).encode()).hexdigest()[:32]

    @property
    def kind(self) -> str:
        """`pagerduty`, `slack` or `terminal`."""
        return self.target.identity[0]

    @property
    def pace(self) -> Pace:
        match self.target:
            case slack.Target():
                return slack.PACE
            case pagerduty.Target():
                return pagerduty.PACE
            case Terminal():
                return Pace(per_s=1000.0, burst=1000)

    @property
    def habit(self) -> Habit:
        match self.target:
            case slack.Target():
                return slack.HABIT
            case pagerduty.Target():
                return pagerduty.HABIT
            case Terminal():
                return Habit(singly_max=10_000, keeps_incidents=False)

    def render(self, notice: Notice) -> HttpRequest | tuple[str, ...]:
        """The request to send, or the lines to print."""
        match self.target:
            case slack.Target():
                return slack.render(notice, self.target)
            case pagerduty.Target():
                return pagerduty.render(notice, self.target)
            case Terminal():
                return terminal.render(notice)

    def render_least(self, notice: Notice) -> HttpRequest | tuple[str, ...]:
        """The least that still tells: tried once where the whole was found malformed."""
        match self.target:
            case slack.Target():
                return slack.render_least(notice, self.target)
            case pagerduty.Target():
                return pagerduty.render_least(notice, self.target)
            case Terminal():
                return terminal.render(notice)

    def outcome(self, status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
        """What an answer means. What it echoes of our secrets is no part of what it said."""
        body = self.without_secrets(body)
        match self.target:
            case pagerduty.Target():
                return pagerduty.outcome(status, headers, body, now_ns)
            case slack.Target():
                return slack.outcome(status, headers, body, now_ns, self.target)
            case Terminal():
                return Delivered()

    def without_secrets(self, text: str) -> str:
        return scrubbed(text, self.target.secrets)


@dataclass(frozen=True)
class Configured:
    """The destinations that the settings know; None where no key or URL was given."""

    slack: slack.Target | None
    pagerduty: pagerduty.Target | None


def destinations(receiver: Receiver, configured: Configured) -> tuple[Destination, ...]:
    """Where a receiver's notices go. Raises ValueError naming the setting that a named destination lacks."""
    every = receiver.slack is None and receiver.pagerduty is None and receiver.terminal is None
    found: list[Destination] = []
    if receiver.pagerduty is not None or (every and configured.pagerduty):
        if configured.pagerduty is None:
            raise ValueError(f'receiver "{receiver.name}": pagerduty needs TOCSIN_PAGERDUTY__ROUTING_KEY (or …_FILE)')
        found.append(Destination(f"{receiver.name}/pagerduty", configured.pagerduty))
    if receiver.slack is not None or (every and configured.slack):
        if configured.slack is None:
            raise ValueError(
                f'receiver "{receiver.name}": slack needs TOCSIN_SLACK__WEBHOOK_URL (or …_FILE), '
                "or TOCSIN_SLACK__BOT_TOKEN and a channel"
            )
        found.append(Destination(f"{receiver.name}/slack", _in_channel(receiver, configured.slack)))
    if receiver.terminal is not None or not found:
        found.append(Destination(f"{receiver.name}/terminal", Terminal()))
    return tuple(found)


def _in_channel(receiver: Receiver, target: slack.Target) -> slack.Target:
    channel = receiver.slack.channel if receiver.slack else ""
    if not target.webhook_url and not (target.bot_token and (channel or target.channel)):
        raise ValueError(f'receiver "{receiver.name}": a Slack bot token needs a channel; write slack: {{channel: …}}')
    return slack.Target(target.webhook_url, target.bot_token, channel or target.channel, target.api_url)


def known(configured: Configured) -> tuple[Destination, ...]:
    """Every destination that the settings hold a key or hook for, whether or not a receiver names it."""
    found: list[Destination] = []
    if configured.pagerduty:
        found.append(Destination("former/pagerduty", configured.pagerduty))
    if configured.slack and (configured.slack.webhook_url or configured.slack.channel):
        found.append(Destination("former/slack", configured.slack))
    return tuple(found)
