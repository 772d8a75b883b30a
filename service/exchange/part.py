"""A partial slot: what the spans of one source partition counted in one slot, or a piece of that, as bytes.

A line of JSON says what follows: the texts of labels, and how long each column is. The columns stand after it. A part
is read without trust in who wrote it: sizes, order and range of every column are checked before any is used.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import (
    CELL_LABELS,
    CELL_LABELS_BEFORE,
    ENDINGS,
    NO_EXAMPLES,
    NOTHING,
    PROMPT,
    SLOT_NS,
    Bytes,
    Entries,
    Examples,
    Firsts,
    Floats,
    Ids,
    Slot,
)
from detectors.core.runs import MEASURES, PLACES, Running
from detectors.core.series import OVERFLOW_VALUE
from service.exchange import closed_legs, crossing
from service.exchange.following import Followed, Named
from service.exchange.packing import EXACT, ZERO, packed, size_of, unpacked
from service.ingest.legs import NO_LEGS, Legs
from service.ingest.rollup import BUCKET_MAX, BUCKET_MIN
from service.ingest.stretches import NO_STRETCHES, Stretches
from service.ingest.vocabulary import SESSION_UNIT

CELLS_MAX = 4_096
"""Cells of one part: what more a slot has goes into further pieces, so that a record stays under a broker's limit."""
WORDS_MAX, TEXT_MAX, ANSWERS_MAX = 40_000, 4_096, 10_000
SESSIONS_OF_MAX = 2 * CELLS_MAX
"""Tenants and agents whose sessions one part tells of: more than that have no room for their cells."""
ENTRIES_MAX = 1 << 20
TIME_MAX_NS = 2**63 - 1
COLUMNS = (
    "count", "squares", "failed", "input_tokens", "output_tokens", "cost_usd", "unpriced", "free", "amount",
)  # fmt: skip
MIXES: Mapping[str, tuple[int, int]] = {
    "duration": (BUCKET_MIN, BUCKET_MAX), "cost": (BUCKET_MIN, BUCKET_MAX), "outcome": (0, 63),
    "ending": (0, len(ENDINGS) - 1), "first_token": (BUCKET_MIN, BUCKET_MAX), "prompt": (0, len(PROMPT) - 1),
    "score": (BUCKET_MIN, BUCKET_MAX), "error": (0, WORDS_MAX - 1),
    "failed_squares": (0, 0),
}  # fmt: skip
"""The first and the last bucket that each may have; of outcomes and errors, a place in the part's own list."""


PLACES_MAX = 1 << 30
OPERATION_PLACE = CELL_LABELS.index("operation")


class PartError(ValueError):
    """Bytes that are not a part; the text says why."""


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of what one source partition counted in one slot.

    piece     its number among the pieces of the slot, from 0 on
    labels    of each cell, in the order of CELL_LABELS
    slot      its `cell` is a place in `labels`; a bucket of `outcome` and `error` one in the lists here
    outcomes  names of the classes of outcomes
    errors    types of error
    named     tenants and agents of the sessions of `lengths` and `running`, whose cells are places in it: of a version
              that joined sessions by partition, and of what such a one left
    stretches what traces went through
    known     of each example, where its trace is among the stretches of all pieces of the slot; -1 where the example
              itself has its id
    legs      sessions that closed in the slot and were counted where this was written
    is_whole  whether it tells what the record of sessions needs; without that it has no legs
    """

    piece: int
    labels: tuple[tuple[str, ...], ...]
    slot: Slot
    outcomes: tuple[str, ...]
    errors: tuple[str, ...]
    named: Named = ()
    stretches: Stretches = NO_STRETCHES
    known: Ids = field(default_factory=lambda: np.empty(0, np.int32))
    legs: Legs = NO_LEGS
    is_whole: bool = True

    @property
    def untold(self) -> int:
        """Sessions that were counted where this was written, and whose legs it does not tell."""
        of_sessions = [labels[OPERATION_PLACE] == SESSION_UNIT for labels in self.labels]
        return 0 if self.is_whole else round(float(self.slot.count[of_sessions].sum()))

    @property
    def place(self) -> tuple[int, int]:
        """Its place among the parts of its partition: they come in this order, and none comes twice."""
        return self.slot.start_ns, self.piece


def encoded(part: Part) -> bytes:
    """A part as bytes: the same ones for the same part."""
    slot, words = part.slot, dict[str, int]()
    rows = np.array([[words.setdefault(text, len(words)) for text in one] for one in part.labels], np.int64)
    columns = [packed(column) for column in rows.reshape(-1, len(CELL_LABELS)).T]
    columns += [packed(getattr(slot, name)) for name in COLUMNS]
    sizes = []
    for name, (lowest, _) in MIXES.items():
        entries: Entries = getattr(slot, name)
        sizes.append(len(entries.cell))
        columns += [packed(np.diff(entries.cell, prepend=0)), packed(entries.bucket - lowest), packed(entries.count)]
    seen = slot.examples
    columns += [packed(seen.cell), packed(seen.kind.astype(np.int64)), packed(seen.value)]
    lengths, running = slot.lengths, slot.running
    columns += [packed(np.diff(lengths.cell, prepend=0)), packed(lengths.bucket), packed(lengths.count)]
    columns += [packed(running.cell), *(packed(column) for column in running.values.T)]
    told = [part.named, len(lengths.cell), running.tool]
    known = part.known if len(part.known) else np.full(len(seen.cell), -1, np.int32)
    traces = [each.astype("<u8").tobytes() for each in (seen.trace[known < 0], running.first, running.trace)]
    columns.append(packed(known + 1))
    kinds, went = _of_traces(part, lambda text: words.setdefault(text, len(words)))
    head = {
        "start": slot.start_ns, "piece": part.piece, "words": list(words), "cells": len(part.labels), "mixes": sizes,
        "examples": len(seen.cell), "kinds": "".join(kind for kind, _ in columns) + kinds, "outcomes": part.outcomes,
        "errors": part.errors, "firsts": slot.firsts, "sessions": told, "stretches": len(part.stretches),
    }  # fmt: skip
    head |= {"cell_labels": len(CELL_LABELS)} | ({"legs": len(part.legs)} if part.is_whole else {"labels": True})
    line = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    return line + b"".join((*(column for _, column in columns), *traces, went))


def _of_traces(part: Part, place_of: Callable[[str], int]) -> tuple[str, bytes]:
    """The kinds of the columns of stretches and legs; and their bytes, those of each before what of it is no column."""
    start_ns, columns = part.slot.start_ns, crossing.columns(part.stretches, place_of)
    columns += (crossing.record_columns if part.is_whole else crossing.label_columns)(part.stretches, place_of)
    kinds = "".join(kind for kind, _ in columns)
    body = [*(column for _, column in columns), crossing.ids_and_times(part.stretches, start_ns)]
    if part.is_whole:
        columns = closed_legs.columns(part.legs, place_of)
        kinds += "".join(kind for kind, _ in columns)
        body += [*(column for _, column in columns), closed_legs.ids_and_times(part.legs, start_ns)]
    return kinds, b"".join(body)


def decoded(body: bytes) -> Part:
    """The part that some bytes are. Raises PartError."""
    line, newline, columns = body.partition(b"\n")
    if not newline:
        raise PartError("it has no head")
    try:
        head = json.loads(line)
        return _Reader(head, columns).part()
    except PartError:
        raise
    except crossing.CrossingError as error:
        raise PartError(str(error)) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise PartError(f"it cannot be read ({type(error).__name__}: {str(error)[:200]})") from None


class _Reader:
    """Takes one column after another from the bytes of a part."""

    def __init__(self, head: Any, body: bytes) -> None:
        self.head, self.body, self.at, self.column = head, body, 0, 0
        self.kinds = _text(head["kinds"])
        # A version before had no `failed_squares`, the last one; and the one after it told of no open sessions.
        self.mixes = tuple(MIXES)[: max(len(head["mixes"]), len(MIXES) - 1)]
        self.labels = whole_number(head.get("cell_labels", CELL_LABELS_BEFORE), len(CELL_LABELS))
        if self.labels not in (CELL_LABELS_BEFORE, len(CELL_LABELS)):
            raise PartError(f"its cells have {self.labels} labels, not {len(CELL_LABELS)}")
        wanted = self.labels + len(COLUMNS) + 3 * len(self.mixes) + 3 + (4 + len(MEASURES)) * ("sessions" in head)
        wanted += (1 + crossing.STRETCH_COLUMNS) * ("stretches" in head)
        wanted += (crossing.RECORD_COLUMNS + closed_legs.LEG_COLUMNS) * ("legs" in head)
        wanted += len(crossing.LABEL_WORDS) * ("labels" in head)
        if len(self.kinds) != wanted:
            raise PartError(f"it has {len(self.kinds)} columns, not {wanted}")

    def take(self, rows: int) -> Floats:
        kind = self.kinds[self.column]
        size = size_of(kind, rows)
        found = self.body[self.at : self.at + size]
        if len(found) != size:
            raise PartError("it is cut short")
        self.column += 1
        self.at += size
        return np.zeros(rows) if kind == ZERO else unpacked(kind, found)

    def whole(self, rows: int, largest: int) -> Ids:
        """A column of whole numbers from 0 to `largest`."""
        if self.kinds[self.column] == EXACT:
            raise PartError(f"column {self.column} has numbers that are not whole")
        values = self.take(rows)
        if rows and values.max() > largest:
            raise PartError(f"column {self.column - 1} has {values.max():.0f}, more than {largest}")
        return values.astype(np.int32)

    def part(self) -> Part:
        head = self.head
        start_ns = whole_number(head["start"], TIME_MAX_NS)
        if start_ns % SLOT_NS:
            raise PartError(f"no slot begins at {start_ns}")
        words, outcomes, errors = (texts(head[name]) for name in ("words", "outcomes", "errors"))
        cells = whole_number(head["cells"], CELLS_MAX)
        texts_of = np.stack([self.whole(cells, len(words) - 1) for _ in range(self.labels)], 1)
        labels = tuple(_with_all(tuple(words[word] for word in row)) for row in texts_of.tolist())
        if len(set(labels)) != cells:
            raise PartError("a cell is in it twice")
        columns = {name: self.take(cells) for name in COLUMNS}
        if any(cells and column.min() < 0 for name, column in columns.items() if name != "amount"):
            raise PartError("a sum is negative")
        limits = dict(MIXES) | {"outcome": (0, len(outcomes) - 1), "error": (0, len(errors) - 1)}
        sizes = head["mixes"]
        if len(sizes) != len(self.mixes) or len(outcomes) > MIXES["outcome"][1] + 1:
            raise PartError("it has other mixes")
        mixes = {
            name: self.entries(whole_number(size, ENTRIES_MAX), cells, limits[name])
            for name, size in zip(self.mixes, sizes, strict=True)
        }
        cell, kind, value = self.examples(whole_number(head["examples"], 3 * CELLS_MAX), cells)
        told = self.sessions(head["sessions"]) if "sessions" in head else Followed()
        known = self.whole(len(cell), PLACES_MAX) - 1 if "stretches" in head else np.full(len(cell), -1, np.int32)
        traces = np.zeros((len(cell), 2), np.uint64)
        traces[known < 0] = self.ids(int((known < 0).sum()))
        examples = Examples(cell, kind, value, traces) if len(cell) else NO_EXAMPLES
        running = replace(told.running, first=self.ids(len(told.running.cell)), trace=self.ids(len(told.running.cell)))
        stretches = NO_STRETCHES
        if "stretches" in head:  # A version before joined sessions by partition.
            rows = whole_number(head["stretches"], crossing.STRETCHES_MAX)
            stretches = crossing.read(
                rows, self.whole, self.take, self.rest, start_ns, words, len(outcomes), "legs" in head, "labels" in head
            )
        legs = self.legs(head["legs"], start_ns, words) if "legs" in head else NO_LEGS
        if self.at != len(self.body):
            raise PartError(f"{len(self.body) - self.at} bytes are left over")
        # Parts that wait since an older version tell of answers alone.
        firsts = Firsts(*map(pairs, head["firsts"] if "firsts" in head else [head["answers"]]))
        slot = Slot(
            start_ns=start_ns, cell=np.arange(cells, dtype=np.int32), **columns, **mixes,  # type: ignore[arg-type]
            examples=examples, firsts=firsts, lengths=told.lengths, running=running,
        )  # fmt: skip
        piece = whole_number(head["piece"], ENTRIES_MAX)
        return Part(piece, labels, slot, outcomes, errors, told.named, stretches, known, legs, "legs" in head)

    def legs(self, rows: Any, start_ns: int, words: tuple[str, ...]) -> Legs:
        """The sessions that closed, after all else."""
        n = whole_number(rows, closed_legs.LEGS_MAX)
        return closed_legs.read(n, self.whole, self.take, self.rest, start_ns, words)

    def entries(self, rows: int, cells: int, limits: tuple[int, int]) -> Entries:
        lowest, highest = limits
        steps = self.whole(rows, max(cells - 1, 0))
        bucket, count = self.whole(rows, max(highest - lowest, 0)), self.take(rows)
        if not rows:
            return NOTHING
        cell = np.cumsum(steps.astype(np.int64))
        if cell[-1] >= cells or highest < lowest:
            raise PartError("a mix is of a cell or class that is not there")
        if not (np.diff(cell * (1 << 32) + bucket) > 0).all() or not (count > 0).all():
            raise PartError("the rows of a mix are not in order, or count nothing")
        return Entries(cell.astype(np.int32), bucket + np.int32(lowest), count)

    def examples(self, rows: int, cells: int) -> tuple[Ids, Bytes, Floats]:
        """Their cells, kinds and values; the ids of their traces come later."""
        if rows and not cells:
            raise PartError("its examples are of no cell")
        return self.whole(rows, max(cells - 1, 0)), self.whole(rows, 2).astype(np.int8), self.take(rows)

    def sessions(self, head: Any) -> Followed:
        """What is told of open sessions and of lengths; the ids of their traces come later."""
        named, rows, tools = pairs(head[0]), whole_number(head[1], ENTRIES_MAX), texts(head[2])
        if len(named) > SESSIONS_OF_MAX or len(set(named)) != len(named):
            raise PartError("its sessions are of too many agents, or of one twice")
        lengths = self.entries(rows, len(named), (0, len(MEASURES) * PLACES - 1))
        cell = self.whole(len(tools), max(len(named) - 1, 0))
        values = np.stack([self.take(len(tools)) for _ in MEASURES], 1)
        if tools and (not named or (np.diff(cell) < 0).any() or not (values >= 0).all()):
            raise PartError("its open sessions are not in order, or of a negative length")
        none = np.zeros((len(tools), 2), np.uint64)
        return Followed(named, lengths, Running(cell, none, none, values, tools))

    def ids(self, rows: int) -> NDArray[np.uint64]:
        """(rows, 2) halves of the ids of traces."""
        return np.frombuffer(self.rest(16 * rows), "<u8").reshape(rows, 2).astype(np.uint64)

    def rest(self, size: int) -> bytes:
        """What is no column of numbers."""
        found = self.body[self.at : self.at + size]
        if len(found) != size:
            raise PartError("the ids of its traces are cut short")
        self.at += size
        return found


def _with_all(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of a cell. One of a version before has neither a prompt nor a model that answered."""
    missing = len(CELL_LABELS) - len(labels)
    # What stands for all cells for which there was no room stands for those of any prompt, too.
    return (*labels[:-1], *[OVERFLOW_VALUE if OVERFLOW_VALUE in labels else ""] * missing, labels[-1])


def whole_number(value: object, largest: int) -> int:
    """A number of a head, from 0 on. Raises PartError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise PartError(f"{str(value)[:40]} is not a whole number from 0 to {largest}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise PartError(f"{str(value)[:40]} is not a text of at most {TEXT_MAX} characters")
    return value


def texts(values: object) -> tuple[str, ...]:
    """A list of texts of a head. Raises PartError."""
    if not isinstance(values, list) or len(values) > WORDS_MAX:
        raise PartError(f"a list has not at most {WORDS_MAX} texts")
    return tuple(_text(value) for value in values)


def pairs(values: object) -> tuple[tuple[str, str], ...]:
    """A list of pairs of texts. Raises PartError."""
    if not isinstance(values, list) or len(values) > ANSWERS_MAX:
        raise PartError(f"a list has not at most {ANSWERS_MAX} pairs")
    found = tuple(texts(value) for value in values)
    if any(len(pair) != 2 for pair in found):
        raise PartError("a pair has not two texts")
    return tuple((pair[0], pair[1]) for pair in found)
