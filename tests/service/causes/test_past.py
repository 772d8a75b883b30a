"""What cells counted of late: nothing is counted twice or lost, whatever became of the pieces."""

import numpy as np
import pytest

from detectors.core.columns import CELL_LABELS, NOTHING, SLOT_NS, TICK_NS, Entries, Slot
from detectors.core.series import SeriesTable
from service.causes import past as room
from service.causes.past import Past

BEGIN_NS = 1_000_000 * TICK_NS


def table() -> SeriesTable:
    return SeriesTable(CELL_LABELS, 100)


def cell(cells: SeriesTable, tool: str) -> int:
    return cells.id_of(tuple(tool if name == "tool" else "" for name in CELL_LABELS), BEGIN_NS)


def slot(start_ns: int, rows: list[int], count: float = 1.0, failed: float = 0.0) -> Slot:
    at, n = np.array(sorted(rows), np.int32), len(rows)
    none, ones = np.zeros(n), np.ones(n)
    duration = Entries(at, np.full(n, 8, np.int32), count * ones)
    return Slot(
        start_ns, at, count * ones, count * ones, failed * ones, none, none, none, none, none, none, duration,
        NOTHING, NOTHING,
    )  # fmt: skip


def total(past: Past, rows: list[int], since_ns: int = 0) -> float:
    """Calls since a time."""
    mine = np.array(sorted(rows), np.int32)
    return float(past.between(mine, np.zeros(len(mine), np.int32), since_ns)[1].tick.count.sum())


def test_all_is_either_before_or_after() -> None:
    """Over two hours of slots, at any whole ten minutes: what was before and what came since are all there is."""
    past, cells = Past(), table()
    one, other = cell(cells, "a"), cell(cells, "b")
    for i in range(6 * 100):
        past.add(slot(BEGIN_NS + i * SLOT_NS, [one, other], failed=0.5), cells)
    for minutes in (0, 10, 40, 70, 90):
        mine = np.array([one, other], np.int32)
        before, now = past.between(mine, np.arange(2, dtype=np.int32), BEGIN_NS + minutes * TICK_NS)
        assert before.tick.count.tolist() == [6.0 * minutes] * 2
        assert now.tick.count.tolist() == [600.0 - 6.0 * minutes] * 2
        assert before.tick.failed.sum() + now.tick.failed.sum() == 600.0
        assert now.tick.duration.count.sum() == now.tick.count.sum()
        assert before.seconds + now.seconds == 6000


def test_what_is_older_decays() -> None:
    """After two hours it is a sum that halves in twelve; its seconds halve with it, so that rates stay."""
    past, cells = Past(), table()
    one = cell(cells, "a")
    for i in range(15 * 60):
        past.add(slot(BEGIN_NS + i * TICK_NS, [one]), cells)
    before, now = past.between(np.array([one], np.int32), np.zeros(1, np.int32), BEGIN_NS + 14 * 60 * TICK_NS)
    assert now.tick.count.tolist() == [60.0]
    assert 300 < before.tick.count[0] < 800
    assert before.tick.count[0] / before.seconds == pytest.approx(1 / 60, rel=1e-4)


def test_an_id_that_is_used_again_begins_anew() -> None:
    """What its former user counted is not told of the new one."""
    past, cells = Past(), table()
    old, kept = cell(cells, "old"), cell(cells, "kept")
    past.add(slot(BEGIN_NS, [old, kept]), cells)
    cells.touch(np.array([kept], np.int32), BEGIN_NS + TICK_NS)
    cells.expire(BEGIN_NS + 1)
    new = cell(cells, "new")
    assert new == old
    assert past.add(slot(BEGIN_NS + TICK_NS, [new]), cells).tolist() == [new]
    assert (total(past, [new]), total(past, [kept])) == (1.0, 1.0)


def test_memory_is_bounded(monkeypatch: object) -> None:
    """With more numbers than there is room for the oldest pieces decay sooner; the present is kept."""
    past, cells = Past(), table()
    rows = [cell(cells, f"tool-{i}") for i in range(50)]
    room_before = room.NUMBERS_MAX
    try:
        room.NUMBERS_MAX = 500
        for i in range(60):
            past.add(slot(BEGIN_NS + i * TICK_NS, rows), cells)
    finally:
        room.NUMBERS_MAX = room_before
    assert total(past, rows, BEGIN_NS + 57 * TICK_NS) == 150.0
    assert len(past.snapshot()["keys"]) < 2_000


def test_a_restored_past_goes_on() -> None:
    """Saved in the middle of a minute: all answers from there on are those of one that never stopped."""
    whole, cells = Past(), table()
    rows = [cell(cells, "a"), cell(cells, "b")]
    for i in range(400):
        whole.add(slot(BEGIN_NS + i * SLOT_NS, rows, 1 + i % 3 / 7), cells)
    again = Past.restore({name: np.asarray(array) for name, array in whole.snapshot().items()})
    for i in range(400, 900):
        for one in (whole, again):
            one.add(slot(BEGIN_NS + i * SLOT_NS, rows, 1 + i % 5 / 7), cells)
    first, second = whole.snapshot(), again.snapshot()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_numbers_that_are_huge() -> None:
    """They stay finite."""
    past, cells = Past(), table()
    one = cell(cells, "a")
    for i in range(300):
        past.add(slot(BEGIN_NS + i * TICK_NS, [one], count=1e300), cells)
    assert np.isfinite(past.snapshot()["values"]).all()
