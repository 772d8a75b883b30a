"""Who hears: receivers and the route, in Alertmanager's words. Keys and URLs never stand here, settings have them."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from alertrules.rules import DurationNs, Name, Written
from detectors.core.columns import SECOND_NS


def _channel(text: object) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= 80 or any(letter in "<>&\n" for letter in text):
        raise ValueError("is not a channel; write '#agents-oncall' or a channel id")
    return text


class PagerDuty(Written):
    """A page to the service whose key the settings hold."""


class Slack(Written):
    """A message; `channel` only counts with a bot token, as a webhook belongs to one channel."""

    channel: Annotated[str, BeforeValidator(_channel)] = ""


class Terminal(Written):
    """Lines on standard output."""


def _present(written: object) -> object:
    """`pagerduty:` with nothing after it is meant."""
    return {} if written is None else written


class Receiver(Written):
    """A named set of destinations. One that names none has every destination the settings know, else the terminal."""

    name: Name
    pagerduty: Annotated[PagerDuty | None, BeforeValidator(_present)] = None
    slack: Annotated[Slack | None, BeforeValidator(_present)] = None
    terminal: Annotated[Terminal | None, BeforeValidator(_present)] = None


class Route(Written):
    """How alerts become notices; the times are groups.py's. By default what befalls an agent at about one time is one
    page, nothing waits and nothing is repeated: the day's reminder is the alert's own."""

    receiver: Name = "oncall"
    group_by: Annotated[tuple[Name, ...], Field(strict=False)] = ("agent", "severity")
    group_window_ns: DurationNs = Field(default=1800 * SECOND_NS, alias="group_window")
    group_wait_ns: DurationNs = Field(default=0, alias="group_wait")
    group_interval_ns: DurationNs = Field(default=0, alias="group_interval")
    repeat_interval_ns: DurationNs = Field(default=86_400 * SECOND_NS, alias="repeat_interval")


ONCALL = Receiver(name="oncall")
