"""Receivers: named sets of destinations. Keys and URLs never stand here, settings have them."""

from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from alertrules.routes import Called
from alertrules.rules import Written


class Receiver(Written):
    """A named set of destinations. One that names none has every destination the settings know, else the terminal."""

    name: Called

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


ONCALL = Receiver(name="oncall")
