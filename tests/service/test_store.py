"""What is on disk after a crash, and the outbox: told once, in order, bounded."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alertrules.notice import Status
from service.notifiers.request import Habit
from service.store.directory import StoreError
from service.store.due import Due, next_due
from service.store.outbox import Outbox, lifetime_ns
from service.store.sqlite import FILE_NAME, Delivery, Store, connect
from tests.service.test_notifiers import NOTICE

DAY_NS = 86400 * 10**9
SLACK, PAGERDUTY = "oncall/slack", "oncall/pagerduty"


def delivery(number: int, group: int = 0, destination: str = SLACK, severity: str = "page") -> Delivery:
    notice = replace(NOTICE, notice_id=f"{number:064d}", group=f"{group:064d}", severity=severity)
    return Delivery(notice, destination, f"target of {destination}")


def resolve(number: int, group: int) -> Delivery:
    one = delivery(number, group)
    return replace(one, notice=replace(one.notice, status=Status.RESOLVED))


def save(store: Store, *deliveries: Delivery, offset: int = 1, now_ns: int = 1) -> str:
    arrays = {"counts": np.arange(offset), "a/b": np.array([np.nan])}
    name = store.write_arrays(arrays, {"otlp_spans/3": offset}, {"alerts": []})
    store.save(name, {"otlp_spans/3": offset}, {"alerts": []}, deliveries, now_ns)
    return name


def due(outbox: Outbox, steady_ns: int = 10, count_max: int = 100) -> list[int]:
    """The numbers of the notices that would be sent, one after the other, were none of them answered."""
    pending, found = outbox.pending(f"target of {SLACK}"), list[int]()
    while len(found) < count_max and (next_ := _next(outbox, steady_ns, {one.group for one in pending})):
        pending = [one for one in pending if one.group not in next_.groups]
        found.append(int(next_.notice.notice_id))
    return found


def _next(outbox: Outbox, steady_ns: int, groups: set[str]) -> Due | None:
    target = f"target of {SLACK}"
    pending = [one for one in outbox.pending(target) if one.group in groups]
    return next_due(outbox, target, pending, Habit(100, keeps_incidents=False), 10, steady_ns)


def first(outbox: Outbox, steady_ns: int = 10) -> Due:
    """What would be sent next."""
    target = f"target of {SLACK}"
    found = next_due(outbox, target, outbox.pending(target), Habit(100, keeps_incidents=False), 10, steady_ns)
    assert found
    return found


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """The newest commit, with its own arrays; older array files are gone."""
    store = Store(tmp_path / "data")
    assert store.load() is None
    save(store, offset=3)
    name = save(store, offset=7)
    store.close()
    store = Store(tmp_path / "data")
    saved = store.load()
    store.close()
    assert saved is not None
    assert (saved.offsets, saved.alerts) == ({"otlp_spans/3": 7}, {"alerts": []})
    assert saved.arrays["counts"].tolist() == list(range(7)) and np.isnan(saved.arrays["a/b"]).all()
    save(store := Store(tmp_path / "data"), offset=8)
    store.close()
    assert sorted(path.name for path in (tmp_path / "data").glob("state-*")) == [name, "state-000000000003.npz"]


def test_a_crash_between_arrays_and_commit(tmp_path: Path) -> None:
    """The save before it stands, and the next one clears up."""
    store = Store(tmp_path)
    save(store, offset=3)
    store.write_arrays({"counts": np.arange(99)}, {}, {})
    (tmp_path / "state-000000000009.npz.partial").write_bytes(b"half")
    store.close()
    store = Store(tmp_path)
    saved = store.load()
    assert saved is not None and len(saved.arrays["counts"]) == 3
    save(store, offset=4)
    assert sorted(tmp_path.glob("state-*.npz")) == [
        tmp_path / "state-000000000001.npz",
        tmp_path / "state-000000000002.npz",
    ]
    store.close()


def test_a_failed_save_changes_nothing(tmp_path: Path) -> None:
    """Offsets, alerts and outbox are one transaction."""
    store = Store(tmp_path)
    save(store, offset=3)
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.save("state-000000000002.npz", {"otlp": 9}, float("nan"), [delivery(1)], 1)
    saved = store.load()
    assert saved is not None and saved.offsets == {"otlp_spans/3": 3}
    store.close()


@pytest.mark.parametrize("harm", ["missing", "cut", "foreign", "pickle"])
def test_an_array_file_that_is_not_whole(tmp_path: Path, harm: str) -> None:
    """Never a silent fresh start: the error says which file, and what to do."""
    store = Store(tmp_path)
    path = tmp_path / save(store, offset=1000)
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "foreign":
        path.write_bytes(b"not a zip")
    else:
        np.savez(path, counts=np.array([{}], dtype=object))
    with pytest.raises(StoreError, match=path.name):
        store.load()
    store.close()


def test_a_file_that_is_not_ours(tmp_path: Path) -> None:
    """Another program's, another version's whose saves lie otherwise, or no database at all."""
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="another program's"):
        Store(tmp_path)
    (tmp_path / "b").mkdir()
    store = Store(tmp_path / "b")
    store.close()
    later = sqlite3.connect(tmp_path / "b" / FILE_NAME)
    later.execute("ALTER TABLE save ADD COLUMN more TEXT")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(StoreError, match="has version 99, this Tocsin reads 2"):
        Store(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / FILE_NAME).write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "c")


def test_one_daemon_a_directory(tmp_path: Path) -> None:
    """A second one is told, instead of writing into the first one's state."""
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="in use by another Tocsin"):
        Store(tmp_path)
    instance = store.instance
    store.close()
    again = Store(tmp_path)
    assert again.instance == instance
    again.close()


def test_a_replayed_notice_is_told_once(tmp_path: Path) -> None:
    """Waiting or told, it is not added again; for another destination it is another delivery."""
    store, outbox = Store(tmp_path), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, delivery(1), delivery(1, destination=PAGERDUTY))
    save(store, delivery(1))
    assert due(outbox) == [1]
    outbox.told(first(outbox).seqs, (), 10)
    save(store, delivery(1), now_ns=20)
    assert due(outbox) == []
    assert outbox.counts() == {(SLACK, "delivered"): 1, (PAGERDUTY, "waiting"): 1}
    assert outbox.oldest_waiting_ns() == 1
    store.close()
    outbox.close()


def test_a_group_is_told_in_order(tmp_path: Path) -> None:
    """While its page waits to be tried again so does its resolve; a page given up holds up nothing."""
    store, outbox = Store(tmp_path), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, delivery(1, 1), resolve(2, 1), delivery(3, 2), resolve(4, 2))
    assert due(outbox) == [1, 3]
    page = first(outbox)
    outbox.put_off(page.seqs, 50, "busy")
    assert due(outbox, 49) == [3]
    assert due(outbox, 50) == [1, 3]
    assert first(outbox, 50).attempts == 1
    outbox.give_up(page.seqs, "malformed", 60)
    assert due(outbox, 60) == [3, 2]
    store.close()
    outbox.close()


def test_a_machine_that_was_started_anew(tmp_path: Path) -> None:
    """What was put off on the clock of its last life waits for nothing."""
    store, outbox = Store(tmp_path), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, delivery(1, 1))
    outbox.put_off(first(outbox).seqs, 86400 * 10**9, "busy")
    assert due(outbox, 5 * 10**9) == [1]
    store.close()
    outbox.close()


def test_pages_come_first(tmp_path: Path) -> None:
    """Then the rest, each by its age."""
    store, outbox = Store(tmp_path), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, delivery(1, 1, severity="info"), delivery(2, 2, severity="warning"), delivery(3, 3), delivery(4, 4))
    assert due(outbox) == [3, 4, 2, 1]
    assert due(outbox, count_max=2) == [3, 4]
    store.close()
    outbox.close()


def test_the_outbox_is_bounded(tmp_path: Path) -> None:
    """The least urgent gives way, the oldest of it first; a page never does, and what was dropped is counted."""
    store, outbox = Store(tmp_path, waiting_max=3), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, *(delivery(number, number, severity="info") for number in (1, 2, 3)))
    save(store, delivery(4, 4), delivery(5, 5))
    assert due(outbox) == [4, 5, 3]
    save(store, *(delivery(number, number) for number in (6, 7)))
    assert due(outbox) == [4, 5, 6, 7]
    assert outbox.counts()[SLACK, "dropped"] == 3
    store.close()
    outbox.close()


def test_what_was_told_is_forgotten_after_a_week(tmp_path: Path) -> None:
    """Until then it is the memory that keeps a replay quiet; an open incident is remembered for longer."""
    store, outbox = Store(tmp_path), Outbox(connect(tmp_path), connect(tmp_path))
    save(store, delivery(1, 1), delivery(2, 2))
    outbox.told(first(outbox).seqs, (), DAY_NS)
    outbox.told(first(outbox).seqs, (), 2 * DAY_NS)
    save(store, resolve(3, 1))
    outbox.told(first(outbox).seqs, (), 9 * DAY_NS)
    assert outbox.counts() == {(SLACK, "delivered"): 2}  # The resolve of today, and a page that is not resolved.
    store.close()
    outbox.close()


def test_lifetimes() -> None:
    """A resolve outlives its page, and information is soon stale."""
    ages = [replace(NOTICE, status=Status.RESOLVED), NOTICE, replace(NOTICE, severity="info")]
    assert [lifetime_ns(notice) // (3600 * 10**9) for notice in ages] == [168, 24, 1]
