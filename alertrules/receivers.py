"""Who hears: receivers and the route, in Alertmanager's words. Keys and URLs never stand here, settings have them."""

from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from alertrules.rules import DurationNs, Name, Written
from detectors.core.columns import SECOND_NS


class Receiver(Written):
    """A named set of destinations. One that names none has every destination the settings know, else the terminal."""

    name: Name

    def named(self) -> Mapping[str, tuple[Written, ...]]:
        """What it says of each notifier that it names."""
        kinds = self.model_fields_set - {"name"}
        return {kind: getattr(self, kind) for kind in type(self).model_fields if kind in kinds}


@cache
def receiver_of(words: tuple[tuple[str, type[Written]], ...]) -> type[Receiver]:
    """A receiver that may name these notifiers, each once or as a list, in that notifier's own words."""
    fields: dict[str, Any] = {
        kind: (Annotated[GenericAlias(tuple, (model, ...)), Field(strict=False), BeforeValidator(_listed)], ())
        for kind, model in words
    }
    return create_model("Receiver", __base__=Receiver, **fields)


def _listed(written: object) -> object:
    """`pagerduty:` with nothing after it is meant, and so is one mapping without a list around it."""
    return written if isinstance(written, list) else [{} if written is None else written]


class Route(Written):
    """How alerts become notices; the times are those of `groups.py`.

    By default all that happens to an agent at about one time is one page. Nothing waits, and nothing is repeated: the
    day's reminder is the alert's own.
    """

    receiver: Name = "oncall"
    group_by: Annotated[tuple[Name, ...], Field(strict=False)] = ("agent", "severity")
    group_window_ns: DurationNs = Field(default=1800 * SECOND_NS, alias="group_window")
    group_wait_ns: DurationNs = Field(default=0, alias="group_wait")
    group_interval_ns: DurationNs = Field(default=0, alias="group_interval")
    repeat_interval_ns: DurationNs = Field(default=86_400 * SECOND_NS, alias="repeat_interval")


ONCALL = Receiver(name="oncall")
