"""The tables that pass from ingest to the detectors, and from the detectors to the rules.

Ids are dense int32 row keys of a `SeriesTable`; weights are adjusted counts, 1 where nothing was sampled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.core.runs import NONE_RUNS, Running

Bools = NDArray[np.bool_]
Bytes = NDArray[np.int8]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
"""Sums that need no more than seven digits, at half the memory."""
Precision = type[np.float32] | type[np.float64]
Ids = NDArray[np.int32]
Places = NDArray[np.int64]
Pairs = tuple[tuple[str, str], ...]
Arrays = Mapping[str, NDArray[np.generic]]
"""A part's state as named arrays: what `snapshot` gives and `restore` takes. Nothing in it needs pickle."""

SECOND_NS = 1_000_000_000
SLOT_NS = 10 * SECOND_NS
TICK_NS = 60 * SECOND_NS

CELL_LABELS = (
    "tenant", "agent", "operation", "provider", "model", "tool", "agent_version", "prompt", "response_model", "metric",
)  # fmt: skip
"""What a cell is counted by. A closed session is a unit of operation `session`, with a version at most; `metric` names
the metric whose points a cell counts, and is empty for calls and sessions. Calls of models alone have a `prompt`, its
name and version, and a `response_model`, which is empty where what was asked for answered."""
CELL_LABELS_BEFORE = 8
"""How many there were before calls had a prompt and a model that answered, which stand before the last one."""

OUTCOMES = ("resolved", "escalated", "abandoned", "failed", "unmapped")
"""Classes of a session's outcome; the first is the good one. An index into this tuple is a class id."""

ENDINGS = (
    "stop", "tool_calls", "length", "content_filter", "refusal", "empty", "cancelled", "rate_limit", "timeout",
    "overloaded", "auth", "invalid", "error", "passed", "blocked", "new_call", "repeat", "nothing", "short", "found",
)  # fmt: skip
"""What a call ended with: a model's reason to stop, nothing at all, the kind of its error, a guardrail's verdict; of a
tool whether it was called like this before in its trace; and whether a retrieval found nothing, less than it asked for,
or all."""
GOOD_ENDINGS = 2
"""How many of them, from the first on, are good ends of a model's call."""
MODEL_ENDINGS = ENDINGS[: ENDINGS.index("passed")]
"""Those of models."""
PROMPT = ("fresh", "read", "written")
"""What the input of a model is made of: what no cache knew, what was read from one, what was written to one."""

HISTOGRAM_SCALE = 3
"""OTLP exponential scale of every histogram in a slot: eight buckets an octave, upper edges inclusive."""


@dataclass(frozen=True, eq=False)
class Entries:
    """Sparse histograms (or mixes) of many cells: one row for each bucket that counted something.

    cell    (m,) int32    ascending; (cell, bucket) pairs are unique
    bucket  (m,) int32    bucket index at HISTOGRAM_SCALE, or class id
    count   (m,) float64  sum of weights, > 0
    """

    cell: Ids
    bucket: Ids
    count: Floats

    def cells(self) -> tuple[Ids, Places]:
        """(cells that have entries, (m,) which of them each entry is of).

        >>> Entries(np.array([3, 3, 7], np.int32), np.zeros(3, np.int32), np.ones(3)).cells()
        (array([3, 7], dtype=int32), array([0, 0, 1]))
        """
        first = np.ones(len(self.cell), np.bool_)
        first[1:] = self.cell[1:] != self.cell[:-1]
        return self.cell[first], np.cumsum(first) - 1

    def at(self, places: slice | Bools | Places) -> "Entries":
        """Some of the entries."""
        return Entries(self.cell[places], self.bucket[places], self.count[places])


NOTHING = Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))


SLOWEST, FAILED, DEAREST = range(3)
"""What an example is of its cell: its slowest unit, one that failed of late, its dearest."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Units that stand for their cells: at most one of each kind, by the trace that has it.

    cell   (m,) int32
    kind   (m,) int8     SLOWEST, FAILED or DEAREST
    value  (m,) float64  seconds, 1.0, or dollars
    trace  (m, 2) uint64  the two halves of the trace's id, as little-endian numbers
    """

    cell: Ids
    kind: Bytes
    value: Floats
    trace: NDArray[np.uint64]


NO_EXAMPLES = Examples(
    np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0), np.empty((0, 2), np.uint64)
)  # fmt: skip


def best_of(parts: Sequence[Examples]) -> Examples:
    """One example of each cell and kind: the one of the largest value, and among equal ones the last."""
    cell, kind, value, trace = (
        np.concatenate([getattr(part, name) for part in (NO_EXAMPLES, *parts)]) for name in vars(NO_EXAMPLES)
    )
    order = np.lexsort((value, kind, cell))
    cell, kind, value, trace = cell[order], kind[order], value[order], trace[order]
    last = np.ones(len(cell), np.bool_)
    last[:-1] = (cell[1:] != cell[:-1]) | (kind[1:] != kind[:-1])
    return Examples(cell[last], kind[last], value[last], trace[last])


def added_up(cell: Ids, bucket: Ids, count: Floats) -> Entries:
    """Entries with each (cell, bucket) once, in that order."""
    if not len(cell):
        return NOTHING
    lowest = int(bucket.min())
    span = int(bucket.max()) - lowest + 1
    key, added = summed(cell.astype(np.int64) * span + (bucket - lowest), count)
    return Entries((key // span).astype(np.int32), (key % span + lowest).astype(np.int32), added)


def summed(key: NDArray[np.int64], values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Each key once, in order, and the sum of its values: (u,) and (u,), or (..., u) of values (..., n).

    >>> summed(np.array([7, 3, 7]), np.array([[1.0, 2.0, 4.0]]))
    (array([3, 7]), array([[2., 5.]]))
    """
    ascends = key[1:] > key[:-1]
    if ascends.all():  # As a single slot has them.
        return key, values
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] > key[:-1]]))
    added: Floats = np.add.reduceat(values[..., order], first, axis=-1)
    return key[first], added


class Firsts(NamedTuple):
    """What a slot has for the first time, and no cell tells.

    answers   models that were asked by one name and answered by another: both names
    prompts   agents, and prompts with their versions that their models were asked with
    policies  services, and how their sampling changed, in words
    """

    answers: Pairs = ()
    prompts: Pairs = ()
    policies: Pairs = ()


NO_FIRSTS = Firsts()


@dataclass(frozen=True, eq=False)
class Slot:
    """What one closed slot of event time counted: calls by the slot they ended in, sessions by the slot they closed in.

    Slots come in time order and an empty one is left out: `start_ns` says what was skipped. Sums, so that two
    slots of the same time may be added.

    start_ns       int            multiple of SLOT_NS
    cell           (n,) int32     ascending, unique
    count          (n,) float64   calls (or closed sessions), sum of weights
    squares        (n,) float64   sum of squared weights: effective size is count**2 / squares
    failed         (n,) float64   of `count`, those that failed
    input_tokens   (n,) float64   tokens, cache included; 0 on session cells, as tokens are counted at the leaf
    output_tokens  (n,) float64   tokens, reasoning included
    cost_usd       (n,) float64   dollars of the priced calls; 0 on session cells
    unpriced       (n,) float64   calls (sessions) whose price (or a call's price) is not known
    free           (n,) float64   calls (sessions) known to cost nothing
    amount         (n,) float64   sum of what a metric's points said; 0 on all other cells
    duration       Entries        seconds; units without a sane duration are missing from it
    cost           Entries        dollars of closed sessions, wholly priced and > 0
    outcome        Entries        classes of the closed sessions that have one; `bucket` indexes OUTCOMES
    ending         Entries        what calls ended with, as far as they tell; `bucket` indexes ENDINGS
    first_token    Entries        seconds to the first token, of the calls that tell it
    prompt         Entries        input tokens of models; `bucket` indexes PROMPT
    score          Entries        best scores of the retrievals that tell one
    error          Entries        failed calls by the type of their error, as far as they tell; `bucket` is its number
    failed_squares Entries        of the failed calls, squared weights; the bucket is 0
    examples       Examples       calls that stand for their cells
    firsts         Firsts         what was seen for the first time
    lengths        Entries        how long the sessions that ended were, as `core/runs.py` has it; of cells of sessions
                                  that may not stand in `cell`
    running        Running        open sessions that are long, of cells likewise
    """

    start_ns: int
    cell: Ids
    count: Floats
    squares: Floats
    failed: Floats
    input_tokens: Floats
    output_tokens: Floats
    cost_usd: Floats
    unpriced: Floats
    free: Floats
    amount: Floats
    duration: Entries
    cost: Entries
    outcome: Entries
    ending: Entries = NOTHING
    first_token: Entries = NOTHING
    prompt: Entries = NOTHING
    score: Entries = NOTHING
    error: Entries = NOTHING
    failed_squares: Entries = NOTHING
    examples: Examples = NO_EXAMPLES
    firsts: Firsts = NO_FIRSTS
    lengths: Entries = NOTHING
    running: Running = NONE_RUNS

    def session_cells(self) -> Ids:
        """The cells that `lengths` and `running` are of, in order."""
        found: Ids = np.union1d(self.lengths.cell, self.running.cell).astype(np.int32)
        return found


def empty_slot(start_ns: int) -> Slot:
    """A slot that counted nothing."""
    none = np.empty(0)
    return Slot(start_ns, np.empty(0, np.int32), *(none,) * 9, NOTHING, NOTHING, NOTHING)


@dataclass(frozen=True, eq=False)
class Tick:
    """One tick of one rule's view: six slots added up by series (or a single one, for the fast lane).

    Empty ticks are not built.

    start_ns  int            multiple of TICK_NS (of SLOT_NS for a slot)
    series    (n,) int32     ascending, unique; the Entries' `cell` are series ids too
    The other columns are the slot's, added up.
    """

    start_ns: int
    series: Ids
    count: Floats
    squares: Floats
    failed: Floats
    cost_usd: Floats
    unpriced: Floats
    free: Floats
    amount: Floats
    duration: Entries
    cost: Entries
    outcome: Entries
    ending: Entries = NOTHING
    first_token: Entries = NOTHING
    prompt: Entries = NOTHING
    score: Entries = NOTHING
    failed_squares: Entries = NOTHING
    lengths: Entries = NOTHING
    running: Running = NONE_RUNS


def empty(start_ns: int) -> Tick:
    """A tick that counted nothing."""
    rows, none = np.empty(0, np.int32), np.empty(0)
    entries = Entries(rows, rows, none)
    return Tick(start_ns, rows, none, none, none, none, none, none, none, entries, entries, entries)


def parts(tick: Tick, rows: int) -> Iterator[Tick]:
    """The tick as ticks of so many series: what is worked out for a part stays in the processor's cache.

    >>> one = empty(0)
    >>> len(list(parts(one, 4)))
    1
    """
    if len(tick.series) <= rows:
        yield tick
        return
    edges = np.arange(0, len(tick.series) + rows, rows)
    firsts = np.append(tick.series[edges[:-1]], np.int32(2**31 - 1))
    histograms = {name: column for name, column in vars(tick).items() if isinstance(column, Entries)}
    cuts = {name: np.searchsorted(column.cell, firsts) for name, column in histograms.items()}
    columns = {name: column for name, column in vars(tick).items() if isinstance(column, np.ndarray)}
    for i, (begin, end) in enumerate(pairwise(edges.tolist())):
        some = {name: column[begin:end] for name, column in columns.items()}
        entries = {name: column.at(slice(*cuts[name][i : i + 2].tolist())) for name, column in histograms.items()}
        yield replace(tick, **some, **entries)  # type: ignore[arg-type]


def without(tick: Tick, rows: Ids) -> Tick | None:
    """The tick without these series; None if nothing is left."""
    kept = ~np.isin(tick.series, rows)
    if not kept.any():
        return None

    columns = {name: column[kept] for name, column in vars(tick).items() if isinstance(column, np.ndarray)}
    histograms = {
        name: column.at(~np.isin(column.cell, rows))
        for name, column in vars(tick).items()
        if isinstance(column, Entries)
    }
    running = tick.running.at(np.flatnonzero(~np.isin(tick.running.cell, rows)))
    return replace(tick, running=running, **columns, **histograms)  # type: ignore[arg-type]


class Mode(IntEnum):
    """What the rules want a detector to ask about a series; kept by the alert's lifecycle, given at each tick."""

    WATCHED = 0
    """No alert: has it changed?"""
    PAGING = 1
    """An alert fires: has it gone back?"""
    RECOVERING = 2
    """Gone back, the alert still held: has it relapsed?"""
    MUTED = 3
    """Fired for a day: learn the new level; has it gone back?"""


class Verdict(IntEnum):
    """What a detector says of a series at one tick, in answer to its mode."""

    NOT_JUDGED = 0
    """Warming up, or unknown: neither good nor bad."""
    QUIET = 1
    ANOMALOUS = 2
    """Watched: evidence over the threshold and an effect worth a page."""
    RELAPSED = 3
    """Recovering: evidence over half the threshold, and the effect."""
    RECOVERED = 4
    """Paging or muted: enough evidence that the change is gone."""
    CREPT = 5
    """Slowly worse over four weeks: worth a ticket. No alert moves."""


@dataclass(frozen=True)
class Finding:
    """Why a series is anomalous (or relapsed): the facts a page is written from. Few rows, so plain Python.

    before, now    level of the baseline and of the run, in `unit`: `ratio` (failed share), `s` (p95), `usd` (p95 of a
                   session's cost), `share` (of the good outcome)
    since_ns       start of the tick in which the run began
    count          calls or sessions of the run; NaN where it is about none
    log_evidence   natural log of the evidence; NaN where the detector has none (static)
    threshold      what log_evidence had to reach
    detail         one more fact in words, at most a sentence; empty if there is none
    """

    unit: str
    before: float
    now: float
    since_ns: int
    count: float
    log_evidence: float
    threshold: float
    detail: str
