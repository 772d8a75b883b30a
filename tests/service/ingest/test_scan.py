"""The compiled scanner reads what protobuf reads, to the letter, and nothing past the end."""

from pathlib import Path

import pytest

from service.ingest.otlp.in_protobuf import ProtobufDecoder
from service.ingest.otlp.scanner import Scanner
from tests.service.ingest.decoders import GuardedScanner, compare, is_bad
from tests.service.ingest.noise import FIXTURES, Noise
from tests.service.ingest.wire import agent, body, chat

CASES = 10_000
PAGES = 64


def test_any_bytes_are_read_as_protobuf_reads_them() -> None:
    """Same bodies refused, same columns: damaged and odd bodies, memory ending where the body does."""
    noise = Noise(1)
    read, refused = compare([noise.body() for _ in range(CASES)], [GuardedScanner(PAGES)])
    assert min(read, refused) > CASES // 10


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/traces*.binpb")), ids=lambda path: path.parent.name)
def test_captures_give_the_same_columns(path: Path) -> None:
    """What real SDKs sent."""
    raw = path.read_bytes()
    assert Scanner().scan([raw]).meaning() == ProtobufDecoder().scan([raw]).meaning()


@pytest.mark.parametrize("depth", [46, 47, 48, 60])
def test_nesting_ends_where_it_does_in_protobuf(depth: int) -> None:
    """Lists in lists, and groups in groups, to the same depth."""

    def field(number: int, held: bytes) -> bytes:
        size = len(held)
        return bytes([number << 3 | 2, size & 127 | 128, size >> 7]) + held

    value = b""
    for _ in range(depth):
        value = field(5, field(1, value))
    lists = field(1, field(2, field(2, field(9, field(2, value)))))
    groups = field(1, field(2, b"\x9b\x01" * (2 * depth + 3) + b"\x9c\x01" * (2 * depth + 3)))
    read, refused = compare([lists, groups], [GuardedScanner(PAGES)])
    assert (read, refused) == ((2, 0) if depth < 48 else (0, 2))


@pytest.mark.parametrize("last", [0, 1, 2, 0x7F, 0x80])
def test_numbers_of_more_than_64_bits_are_cut(last: int) -> None:
    """The tenth byte of a varint may say what it likes, but not that there is an eleventh."""
    number = b"\xff" * 9 + bytes([last])
    attribute = b"\x0a\x04tool\x12\x0b\x18" + number
    for _ in range(3):  # Of a resource, of spans, of a request.
        attribute = b"\x0a" + bytes([len(attribute)]) + attribute
    bodies = [b"\x98\x01" + number, b"\x9b\x01\x90\x01" + number + b"\x9c\x01", attribute]
    assert compare(bodies, [GuardedScanner(PAGES)]) == ((3, 0) if last < 0x80 else (0, 3))


def test_records_scanned_together_are_each_their_own() -> None:
    """A bad record among good ones is refused alone, even where its end could be made up of the next one's bytes."""
    good = body(agent(1, 1, 0, 9), chat(1, 2, 1, 5, parent=1))
    records = [good, good[:-1], good, b"", b"\x0a\x05", good]
    together = Scanner().scan(records)
    assert is_bad(together) == [False, True, False, False, True, False]
    assert together.meaning() == ProtobufDecoder().scan(records).meaning()


def test_rows_that_do_not_suffice_are_added() -> None:
    """A body of more spans than there is room for is scanned all the same, and so is what comes after it."""
    many = body(*(chat(1, i + 1, 0, 1) for i in range(20_000)))
    scanner = Scanner()
    assert scanner.scan([many]).n_spans == 20_000
    assert scanner.scan([b""]).n_spans == 0
    assert scanner.scan([many[: len(many) // 2], many]).n_spans == 20_000
