"""State that is deleted, replaced, torn or not ours: nothing told is lost, nothing learnt deleted, and it is said."""

import contextlib
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.sources.otlp_http import PROTOBUF
from service.store.directory import StoreError
from service.store.files import DamagedError, read
from service.store.outbox import Outbox
from service.store.rescue import put_back
from service.store.sqlite import FILE_NAME, Store, connect
from tests.service.replay import values
from tests.service.running import ended, running
from tests.service.test_cli import post
from tests.service.test_crash import AGO_S, KEY, RULES, stream
from tests.service.test_daemon import spans, until
from tests.service.test_store import SLACK, delivery, due, first, save


def delete_all(state: Path) -> None:
    shutil.rmtree(state)


def move_away(state: Path) -> None:
    state.rename(state.with_name("moved"))


def move_away_for_another(state: Path) -> None:
    state.rename(state.with_name("moved"))
    shutil.copytree(state.with_name("moved"), state)


def replace_by_a_copy(state: Path) -> None:
    shutil.copy(state / FILE_NAME, state / "copy")
    (state / "copy").rename(state / FILE_NAME)


def replace_by_garbage(state: Path) -> None:
    (state / "other").write_bytes(b"not a database" * 1000)
    (state / "other").rename(state / FILE_NAME)


def replace_by_nothing(state: Path) -> None:
    (state / "other").touch()
    (state / "other").rename(state / FILE_NAME)


def delete(*patterns: str) -> Callable[[Path], None]:
    def run(state: Path) -> None:
        for pattern in patterns:
            for path in list(state.glob(pattern)):
                path.unlink()

    return run


HARMS = {
    "directory deleted": delete_all,
    "directory moved": move_away,
    "directory replaced": move_away_for_another,
    "replaced by a copy": replace_by_a_copy,
    "replaced by garbage": replace_by_garbage,
    "replaced by nothing": replace_by_nothing,
    "database deleted": delete(FILE_NAME),
    "wal deleted": delete("*-wal"),
    "wal and shm deleted": delete("*-wal", "*-shm"),
    "lock deleted": delete("lock"),
    "arrays deleted": delete("*.npz"),
    "everything deleted": delete("*"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_lost_is_put_back(tmp_path: Path, harm: str) -> None:
    """All that was learnt, told and not told yet is in place again, and outlives a kill after the next save."""
    state = tmp_path / "state"
    store, outbox = Store(state), Outbox(connect(state), connect(state))
    instance = store.instance
    save(store, delivery(1, 1), offset=3)
    outbox.told(first(outbox).seqs, (), 10)
    save(store, delivery(2, 2), delivery(3, 3), offset=7)
    assert store.lost() == ""
    HARMS[harm](state)
    assert (lost := store.lost())
    assert put_back(store, outbox, lost, 20).startswith(f"{lost} in {state} while it was in use: ")
    save(store, delivery(1, 1), delivery(4, 4), offset=9)
    assert store.lost() == "" and due(outbox) == [2, 3, 4]
    outbox.told(first(outbox).seqs, (), 30)
    shutil.copytree(state, tmp_path / "killed")  # Nothing was closed: this is what a kill leaves.
    outbox.close()
    store.close()
    again = Store(tmp_path / "killed")
    left, found = Outbox(connect(again.directory), connect(again.directory)), again.load()
    assert again.instance == instance
    assert found is not None and (found.offsets, found.alerts) == ({"otlp_spans/3": 9}, {"alerts": []})
    assert len(found.arrays["counts"]) == 9
    assert left.counts() == {(SLACK, "delivered"): 2, (SLACK, "waiting"): 2}
    left.close()
    again.close()


def shown(web: str) -> dict[tuple[str, ...], float]:
    return values(httpx.get(web + "/metrics", trust_env=False).text)


def put_backs(web: str) -> float:
    return shown(web)["tocsin_state_put_back_total",]


def wait_for_put_back(web: str, times: int) -> None:
    until(lambda: put_backs(web) >= times)


def page(door: str, web: str, bodies: list[bytes]) -> None:
    """Send these, until more waits to be told than before."""
    waits = "tocsin_outbox_depth", "oncall/pagerduty", "waiting"
    before = shown(web).get(waits, 0)
    with httpx.Client(trust_env=False) as client:
        for body in bodies:
            client.post(door + "/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
    until(lambda: shown(web).get(waits, 0) > before)


def test_under_a_running_daemon(tmp_path: Path) -> None:
    """Its directory deleted, then its database replaced: it says so, each time, and goes on; what it found is kept."""
    rules, state = tmp_path / "rules.yaml", tmp_path / "state"
    rules.write_text(RULES)
    settings = {
        "RULES": str(rules), "PAGERDUTY__ROUTING_KEY": KEY, "PAGERDUTY__URL": "http://127.0.0.1:9",
        "MAX_PAGE_AGE": "0", "SAVE_EVERY": "50ms",
    }  # fmt: skip
    bodies = list(stream(random.Random(3), int(time.time()) - AGO_S))
    third = len(bodies) // 3
    with running(tmp_path, **settings) as daemon:
        door, web = daemon.addresses()
        for times, harm in enumerate((delete_all, replace_by_garbage)):
            page(door, web, bodies[times * third : (times + 1) * third])
            until(lambda: bool(list(state.glob("*.npz"))))
            assert put_backs(web) == times
            harm(state)
            wait_for_put_back(web, times + 1)
            ready = httpx.get(web + "/-/ready", trust_env=False)
            assert ready.status_code == 200 and "the state is saved anew" in ready.text
        page(door, web, bodies[2 * third :])
        told = sum(depth for name, depth in shown(web).items() if name[0] == "tocsin_outbox_depth")
        assert daemon.said.count("the state is saved anew") == 2 and "Traceback" not in daemon.said
        assert "what was found there is kept as tocsin.db.found-" in daemon.said
        assert put_backs(web) == 2
        daemon.kill()
    (kept,) = state.glob("tocsin.db.found-*")
    assert kept.read_bytes().startswith(b"not a database")
    store = Store(state)
    saved = store.load()
    store.close()
    assert saved is not None and saved.alerts and any(name.startswith("detect/") for name in saved.arrays)
    with contextlib.closing(sqlite3.connect(state / FILE_NAME)) as outbox:
        assert outbox.execute("SELECT count(*) FROM outbox").fetchone() == (told,)


def test_a_place_that_another_daemon_took(tmp_path: Path) -> None:
    """Saving fails aloud: two would tell everything twice."""
    state = tmp_path / "state"
    other = Store(tmp_path / "other")
    with running(tmp_path, SAVE_EVERY="1s") as daemon:
        door, web = daemon.addresses()
        assert post(door, *spans(1)) == 200
        until(lambda: bool(list(state.glob("*.npz"))))
        move_away(state)
        (tmp_path / "other").rename(state)
        until(lambda: "in use by another Tocsin" in httpx.get(web + "/-/ready", trust_env=False).text)
        assert "cannot save" in daemon.said and put_backs(web) == 0
        other.close()
        until(lambda: httpx.get(web + "/-/ready", trust_env=False).status_code == 200)
        assert put_backs(web) == 1
        assert daemon.stop() == 0


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def random_bytes(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "torn": torn,
    "flipped": flipped,
    "random": random_bytes,
    "empty": lambda content: b"",
    "text": lambda content: b"hi",
}


@pytest.mark.parametrize("harm", [*WRITTEN, "missing", "directory"])
def test_the_save_before_is_gone_back_to(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where the last array file is not whole: with its own offsets and alerts, and the log says so."""
    store = Store(tmp_path)
    save(store, offset=3)
    path = tmp_path / save(store, offset=7)
    store.close()
    harmed(path, harm)
    store = Store(tmp_path)
    found = store.load()
    assert found is not None and found.offsets == {"otlp_spans/3": 3} and len(found.arrays["counts"]) == 3
    assert "going back to the save before, state-000000000001.npz" in caplog.text
    assert save(store, offset=8) == "state-000000000003.npz"
    store.close()
    store = Store(tmp_path)
    found = store.load()
    assert found is not None and found.offsets == {"otlp_spans/3": 8}
    store.close()


def harmed(path: Path, harm: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if harm == "directory":
        path.mkdir()
    elif harm != "missing":
        path.write_bytes(WRITTEN[harm](content))


def test_no_flipped_byte_is_believed(tmp_path: Path) -> None:
    """Wherever it is in an array file: the file is refused, or all that it held is read."""
    store = Store(tmp_path)
    path = tmp_path / save(store, offset=3)
    store.close()
    content, whole = path.read_bytes(), repr(read(path))
    refused = 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            assert repr(read(path)) == whole, at
        except DamagedError:
            refused += 1
    assert refused > len(content) // 2


def damaged(state: Path, name: str, harm: str) -> set[str]:
    """A directory with two saves, in which this is damaged; what is in it."""
    store = Store(state)
    for offset in (1000, 1001):
        save(store, offset=offset)
    store.close()
    for path in [state / FILE_NAME] if name == FILE_NAME else list(state.glob("*.npz")):
        harmed(path, harm)
    return {path.name for path in state.iterdir()}


def loaded(state: Path) -> None:
    store = Store(state)
    try:
        store.load()
    finally:
        store.close()


@pytest.mark.parametrize("harm", [*WRITTEN, "missing", "directory"])
@pytest.mark.parametrize("name", [FILE_NAME, "both arrays"])
def test_damage_is_one_sentence(tmp_path: Path, name: str, harm: str) -> None:
    """Never afresh: which file it is, and what to do; nothing is deleted."""
    left = damaged(tmp_path, name, harm)
    with pytest.raises(StoreError) as error:
        loaded(tmp_path)
    said = str(error.value)
    assert str(tmp_path) in said and "\n" not in said and any(word in said for word in ("restore", "move", "see who"))
    assert left <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("name", "harm"), [(FILE_NAME, "random"), ("both arrays", "torn")])
def test_a_start_with_damage(tmp_path: Path, name: str, harm: str) -> None:
    """It says that sentence, without a traceback, and ends."""
    left = damaged(tmp_path / "state", name, harm)
    status, lines = ended(tmp_path)
    said = [line for line in lines if line.startswith("tocsin: ")]
    assert status == 1 and len(said) == 1 and "Traceback" not in "".join(lines), lines
    assert str(tmp_path / "state") in said[0]
    assert left <= {path.name for path in (tmp_path / "state").iterdir()}


@pytest.mark.parametrize("column", ["offsets", "alerts", "arrays"])
@pytest.mark.parametrize("written", ["", "{", "[" * 100_000, "nonsense"])
def test_a_damaged_row(tmp_path: Path, column: str, written: str) -> None:
    """The array file holds what the row does; a row that names no array file is told."""
    store = Store(tmp_path)
    save(store, offset=7)
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute(f"UPDATE save SET {column} = ?", (written,))
        database.commit()
    if column == "arrays":
        with pytest.raises(StoreError, match="it names no array file"):
            Store(tmp_path)
        return
    store = Store(tmp_path)
    found = store.load()
    store.close()
    assert found is not None and (found.offsets, found.alerts) == ({"otlp_spans/3": 7}, {"alerts": []})


def test_a_state_of_before_has_no_save_before(tmp_path: Path) -> None:
    """Array files of earlier versions hold arrays alone: they are read, and cannot be gone back to."""
    store = Store(tmp_path)
    save(store, offset=3)
    path = tmp_path / save(store, offset=7)
    store.close()
    for each in tmp_path.glob("*.npz"):
        np.savez(each, counts=np.arange(5))
    store = Store(tmp_path)
    found = store.load()
    assert found is not None and found.offsets == {"otlp_spans/3": 7} and len(found.arrays["counts"]) == 5
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="restore it, or move both away"):
        store.load()
    store.close()


@pytest.mark.parametrize("name", ["state", "state/lock", "state/tocsin.db"])
def test_what_may_not_be_opened(tmp_path: Path, name: str) -> None:
    """A file for a directory, or the reverse, as root may open all else: the error names it."""
    of_another_kind(tmp_path / name)
    with pytest.raises((StoreError, OSError), match=str(tmp_path / name)):
        Store(tmp_path / "state")


def test_a_start_that_may_not_open(tmp_path: Path) -> None:
    """The system's error is a sentence too."""
    of_another_kind(tmp_path / "state" / "lock")
    status, lines = ended(tmp_path)
    assert status == 1 and lines[-1] == f"tocsin: Is a directory: {tmp_path / 'state' / 'lock'}", lines
    assert "Traceback" not in "".join(lines)


def of_another_kind(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.name == "state":
        path.write_bytes(b"")
    else:
        path.mkdir()
