"""A rule's view: what it selects, how it groups, and that ids used again are not mixed up."""

import numpy as np

from alertrules.select import parse_matchers
from alertrules.view import VALUES_MAX, View
from detectors.core.columns import CELL_LABELS, SECOND_NS, SLOT_NS, TICK_NS, Entries, Slot
from detectors.core.series import OVERFLOW, OVERFLOW_VALUE, SeriesTable


def labels(tenant: str, agent: str, operation: str, model: str = "") -> tuple[str, ...]:
    return (tenant, agent, operation, "", model, "", "", "", "", "")


def slot(start_ns: int, cells: dict[int, tuple[float, float, int]]) -> Slot:
    """A slot in which each cell counted (calls, failed, duration bucket)."""
    ids = np.array(sorted(cells), np.int32)
    count, failed, bucket = (np.array([cells[i][k] for i in ids.tolist()], float) for k in range(3))
    zero = np.zeros(len(ids))
    none = Entries(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    duration = Entries(ids, bucket.astype(np.int32), count)
    return Slot(start_ns, ids, count, count, failed, zero, zero, zero, zero, zero, zero, duration, none, none)


def view(select: object = None, by: tuple[str, ...] = ("tenant", "agent"), series_max: int = 100) -> View:
    return View(parse_matchers(select) if select else (), by, series_max)


def test_cells_of_one_series_add_up() -> None:
    """Two models of one agent, over two slots, are one series; another agent is another."""
    cells, one = SeriesTable(CELL_LABELS, 100), view()
    a, b, c = (
        cells.id_of(labels(*of), 0) for of in (("t", "x", "llm", "m1"), ("t", "x", "llm", "m2"), ("t", "y", "llm"))
    )
    one.add(slot(0, {a: (3, 1, -5), b: (2, 0, -5), c: (7, 0, 9)}), cells)
    one.add(slot(SLOT_NS, {b: (4, 2, 8)}), cells)
    ticked = one.close(0)
    assert ticked is not None
    named = {one.series.values(row): i for i, row in enumerate(ticked.series.tolist())}
    x, y = named["t", "x"], named["t", "y"]
    assert (ticked.count[x], ticked.failed[x], ticked.count[y]) == (9, 3, 7)
    row = ticked.series[x]
    mine = ticked.duration.cell == row
    assert dict(zip(ticked.duration.bucket[mine].tolist(), ticked.duration.count[mine].tolist(), strict=True)) == {
        -5: 5.0,
        8: 4.0,
    }
    assert one.close(TICK_NS) is None


def test_only_what_is_selected_counts() -> None:
    """Cells that the matchers turn away are in no series."""
    cells, one = SeriesTable(CELL_LABELS, 100), view({"operation": "tool", "tenant": '!~"test-.*"'})
    ids = [cells.id_of(labels(*of), 0) for of in (("t", "x", "tool"), ("t", "x", "llm"), ("test-1", "x", "tool"))]
    one.add(slot(0, dict.fromkeys(ids, (1, 0, 0))), cells)
    ticked = one.close(0)
    assert ticked is not None
    assert [one.series.values(row) for row in ticked.series.tolist()] == [("t", "x")]


def test_a_cell_s_id_used_again_is_another_cell() -> None:
    """When a cell has expired and its id stands for other labels, its counts go to the other series."""
    cells, one = SeriesTable(CELL_LABELS, 3), view()
    first = cells.id_of(labels("t", "old", "llm"), 0)
    one.add(slot(0, {first: (1, 0, 0)}), cells)
    one.close(0)
    cells.expire(SECOND_NS)
    second = cells.id_of(labels("t", "new", "llm"), SECOND_NS)
    assert second == first
    one.add(slot(SLOT_NS, {second: (5, 0, 0)}), cells)
    ticked = one.close(0)
    assert ticked is not None
    assert [one.series.values(row) for row in ticked.series.tolist()] == [("t", "new")]


def test_too_many_series_share_one() -> None:
    """Beyond `series_max` label sets are judged together, under a name that says so, and counted."""
    cells, one = SeriesTable(CELL_LABELS, 100), view(series_max=2)
    ids = [cells.id_of(labels("t", f"agent-{i}", "llm"), 0) for i in range(5)]
    one.add(slot(0, dict.fromkeys(ids, (1, 0, 0))), cells)
    ticked = one.close(0)
    assert ticked is not None
    assert dict(zip(ticked.series.tolist(), ticked.count.tolist(), strict=True))[OVERFLOW] == 3
    assert one.labels(OVERFLOW) == (("agent", OVERFLOW_VALUE), ("tenant", OVERFLOW_VALUE))
    assert one.series.refused == 3


def test_an_expired_series_is_met_anew() -> None:
    """A series unseen for long is forgotten, but not one that is to be kept; its cell finds a new one later."""
    cells, one = SeriesTable(CELL_LABELS, 100), view()
    a, b = (cells.id_of(labels("t", name, "llm"), 0) for name in ("a", "b"))
    one.add(slot(0, {a: (1, 0, 0), b: (1, 0, 0)}), cells)
    one.close(0)
    kept = one.series.id_of(("t", "b"), 0)
    gone = one.expire(3 * SLOT_NS, np.array([kept], np.int32))
    assert len(one.series) == 1
    assert kept not in gone.tolist()
    one.add(slot(4 * SLOT_NS, {a: (2, 0, 0)}), cells)
    assert len(one.series) == 2


def test_saved_in_the_middle_of_a_tick_it_goes_on() -> None:
    """The open tick is part of what is saved."""
    cells, one = SeriesTable(CELL_LABELS, 100), view()
    a = cells.id_of(labels("t", "a", "llm"), 0)
    one.add(slot(0, {a: (1, 1, 3)}), cells)
    again = view()
    again.restore(one.snapshot())
    for each in (one, again):
        each.add(slot(SLOT_NS, {a: (2, 0, 3)}), cells)
    left, right = one.close(0), again.close(0)
    assert left is not None
    assert right is not None
    assert (
        (right.count.tolist(), right.failed.tolist()) == (left.count.tolist(), left.failed.tolist()) == ([3.0], [1.0])
    )
    assert right.duration.count.tolist() == [3.0]


def test_more_values_than_are_remembered() -> None:
    """A cell is selected by what its labels say, however many tenants were seen before it."""
    cells, one = (
        SeriesTable(CELL_LABELS, 3 * VALUES_MAX),
        view('tenant=~".*7", operation!="tool"', series_max=VALUES_MAX),
    )
    ids = [cells.id_of(labels(f"t{i}", "x", ("llm", "tool")[i % 3 == 0]), 0) for i in range(VALUES_MAX + 50)]
    for _ in range(2):
        assert one.add(slot(0, dict.fromkeys(ids, (1.0, 0.0, 3))), cells)
    ticked = one.close(0)
    wanted = {f"t{i}" for i in range(VALUES_MAX + 50) if i % 10 == 7 and i % 3}
    assert ticked is not None and {one.series.values(row)[0] for row in ticked.series.tolist()} == wanted
