"""State that versions before this one saved: this one goes on from it, and loses nothing.

Each fixture is what format 8 to 14 was at one moment of a stream, all of the stream's bodies, and what an older
version counted of calls from there on. Not all is equal since: what a root and what a failure is has changed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alertrules.notice import Notice
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.ingest.stage import Ingest
from service.pipeline.pipeline import FormatError, Pipeline, State
from tests.service.ingest.wire import FIXTURES, Stream, same_slots
from tests.service.test_pipeline import end_ns, rules

STATES = [FIXTURES / f"state-{number}" for number in (8, 9, 10, 11, 12, 13, 14)]
PATHS = sorted(path for states in STATES for path in states.glob("*.npz") if path.stem not in ("pipeline", "metrics"))


COUNTED_8 = {
    "captures": 362, "long-traces": 163, "odd-0": 91, "odd-11": 71, "odd-17": 61, "odd-23": 101, "odd-3": 35,
    "odd-8": 121,
}  # fmt: skip
"""Calls that a version which read format 8 counted after it, before what a root and a failure is changed."""

OVERFLOWED = {"state-10/odd-0": 8, "state-11/odd-0": 8, "state-12/odd-0": 8}
"""Sessions that overflow among the calls where room is for 12 cells: their cell has a label of their version since."""


def loaded(path: Path) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """A fixture's state, the rest of it, and the bodies."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    state = {key.removeprefix("state/"): array for key, array in arrays.items() if key.startswith("state/")}
    raw, ends = arrays["body"].tobytes(), arrays["ends"].tolist()
    bodies = [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return state, {**arrays, **json.loads(arrays["text"].tobytes())}, bodies


def calls(stream: Stream) -> float:
    """Calls of all slots."""
    total = 0.0
    for slot in stream.slots:
        are_calls = [stream.ingest.cells.values(cell)[2] != "session" for cell in slot.cell.tolist()]
        total += float(slot.count[are_calls].sum())
    return total


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_rest_of_a_stream_is_read_on(path: Path) -> None:
    """From the older version's state, and from what this one makes of it: the same slots, with the calls of then."""
    state, more, bodies = loaded(path)
    given, cut = IngestLimits(**more["limits"]), int(more["cut"][0])
    restored, again = Stream(), Stream()
    restored.ingest = Ingest.restore(state, given)
    again.ingest = Ingest.restore(restored.ingest.snapshot(), given)
    for raw, now_s in list(zip(bodies, more["now_s"].tolist(), strict=True))[cut:]:
        for stream in (restored, again):
            stream.send_bytes(raw, now_s)
    assert same_slots(restored.flush().slots, again.flush().slots)
    counted = more["counted"][0] if "counted" in more else COUNTED_8[path.stem]
    assert calls(restored) == counted + OVERFLOWED.get(f"{path.parent.name}/{path.stem}", 0)


@pytest.mark.parametrize("states", STATES, ids=lambda path: path.name)
def test_a_pipeline_goes_on(states: Path) -> None:
    """The same pages come, and what is saved then is of the present format; one that is too old is refused."""
    state, more, bodies = loaded(states / "pipeline.npz")
    cut, stream = int(more["cut"][0]), [Record(Signal.TRACES, raw, "p/0") for raw in bodies]
    whole, restored = (Pipeline(IngestLimits(), rules(more["rules"]), 0) for _ in range(2))
    told: list[list[Any]] = [[], []]
    for number, record in enumerate(stream):
        if number == cut:
            restored.restore(State(state, more["alerts"]))
        for one, said in zip((whole, restored), told, strict=True):
            if one is whole or number >= cut:
                outcome = one.step(Batch((record,), {}), end_ns(number))
                said += [(number, _without_cause(notice)) for notice in outcome.notices]
    assert [each for each in told[0] if each[0] >= cut] == told[1] and len(told[1]) >= 2
    saved = restored.snapshot()
    assert saved.arrays["format"].tolist() == [15]
    alerts = {name: said for name, said in saved.alerts.items() if name != "parts"}  # As before parts had versions.
    with pytest.raises(FormatError, match="state format 7; this version reads 8, 9, 10, 11, 12, 13, 14 and 15"):
        whole.restore(State({**saved.arrays, "format": np.array([7])}, alerts))


def _without_cause(notice: Notice) -> tuple[Any, ...]:
    """What a notice tells, but for causes and examples: an older state kept nothing that tells them."""
    return notice.notice_id, notice.status, notice.rule, notice.labels, notice.at_ns, notice.began_ns


@pytest.mark.parametrize("states", STATES, ids=lambda path: path.name)
def test_fixtures_are_there(states: Path) -> None:
    """Odd streams, long traces, and captures of real SDKs."""
    names = {path.stem for path in states.glob("*.npz")}
    assert {"captures", "long-traces", "pipeline"} <= names and len(names) >= 9
