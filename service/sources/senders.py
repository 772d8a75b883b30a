"""Who sent a body to a door that is pushed to: each service is a partition, as each has its own delays and outages.

One stream for all would let those who speak pass those who are cut off, whose spans would be late when they are back.
"""

import re
import time
from collections import OrderedDict

from google.protobuf.message import DecodeError
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SENDERS_MAX = 32
"""Services that are waited for one by one; of more, the rest are one partition."""
FORGET_S = 3600.0
SERVICE_NAME_MAX = 120
_IN_JSON = re.compile(rb'"service\.name"\s*,\s*"value"\s*:\s*\{\s*"stringValue"\s*:\s*"([^"\\]{1,120})"')
_HEAD_BYTES = 4096


def service_of(body: bytes) -> str:
    """The service whose spans a body holds; empty where it names none, or holds those of several.

    >>> service_of(b'{"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": '
    ...            b'{"stringValue": "shop"}}]}}]}')
    'shop'
    """
    if body[:1] != b"\n":
        found = _IN_JSON.findall(body[:_HEAD_BYTES])
        return found[0].decode("utf-8", "replace") if len(found) == 1 else ""
    size, first = _length(body, 1)
    if first + size < len(body) or body[first : first + 1] != b"\n":
        return ""  # Several resources: a Collector stands before us.
    size, first = _length(body, first + 1)
    try:
        resource = Resource.FromString(body[first : first + size])
    except DecodeError:
        return ""
    names = (pair.value.string_value for pair in resource.attributes if pair.key == "service.name")
    return next(names, "")[:SERVICE_NAME_MAX]


def _length(body: bytes, at: int) -> tuple[int, int]:
    """A protobuf length and where what it measures begins; no length in what is cut short."""
    size = shift = 0
    for place in range(at, min(at + 5, len(body))):
        size |= (body[place] & 0x7F) << shift
        if body[place] < 0x80:
            return size, place + 1
        shift += 7
    return 0, len(body)


class Senders:
    """The services that were heard of late at one door, by the partition of each."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._heard_s: OrderedDict[str, float] = OrderedDict()

    def partition(self, body: bytes) -> str:
        """The partition that a body belongs to."""
        now_s = time.monotonic()
        while self._heard_s and now_s - next(iter(self._heard_s.values())) > FORGET_S:
            self._heard_s.popitem(last=False)
        service = service_of(body)
        if not service or (service not in self._heard_s and len(self._heard_s) >= SENDERS_MAX):
            return self._door
        self._heard_s[service] = now_s
        self._heard_s.move_to_end(service)
        return f"{self._door}/{service}"
