"""What a vendor sends back of what a person did there, as a notifier describes it. Pure: the door is web/vendors.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.notifiers.request import HttpRequest


@dataclass(frozen=True)
class Request:
    """One thing that a person said there, as if they had asked the API: `mark`, `silence` or `ack`."""

    kind: str
    written: Mapping[str, Any]


Reply = Callable[[str], HttpRequest | None]
"""How the person is answered, in words; None where they cannot be."""


@dataclass(frozen=True)
class Inbound:
    """One vendor's door.

    path     where it sends to
    secret   what the settings of the notifier hold for it; empty: there is no door
    problem  why a request is not the vendor's: (secret, headers, body, now_ns); empty if it is
    read     what a person said, and how they are answered. Raises ValueError with a sentence
    """

    path: str
    secret: Callable[[Any], str]
    problem: Callable[[str, Mapping[str, str], bytes, int], str]
    read: Callable[[bytes], tuple[tuple[Request, ...], Reply | None]]
