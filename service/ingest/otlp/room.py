"""Where the scanner reads and writes."""

from typing import NamedTuple

from service.ingest.memory import Memory

KEY_CELLS = 4
KEY_BYTES_MAX = 63
SPANS, RESOURCES, SCOPES, ATTRIBUTES = 0, 1, 2, 3
"""Of `used` and `limits`."""


class Room(NamedTuple):
    """Where the scanner reads and writes: arrays, or their addresses and sizes.

    keys        (slots, 4): hash, id or -1, offset and size in `key_text`; as many slots as a power of two
    key_lengths (64,) 1 where a key of that many bytes is known
    used        (4,) rows written: spans, resources, scopes, attributes
    limits      (4,) how many there is room for
    content     (keys,) texts seen under each key that is only counted
    stack       (STACK_CELLS,)
    """

    text: Memory
    keys: Memory
    key_mask: Memory
    key_text: Memory
    key_roles: Memory
    key_lengths: Memory
    records: Memory
    spans: Memory
    resources: Memory
    scopes: Memory
    attributes: Memory
    used: Memory
    limits: Memory
    content: Memory
    stack: Memory
