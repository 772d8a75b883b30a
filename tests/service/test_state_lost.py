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
from service.store.sqlite import FILE_NAME, Store, StoreError
from tests.service.replay import values
from tests.service.running import ended, running
from tests.service.test_cli import post
from tests.service.test_crash import AGO_S, KEY, RULES, stream
from tests.service.test_daemon import spans, until
from tests.service.test_store import save


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


def shown(web: str) -> dict[tuple[str, ...], float]:
    return values(httpx.get(web + "/metrics", trust_env=False).text)


@pytest.mark.parametrize("harm", HARMS)
def test_under_a_running_daemon(tmp_path: Path, harm: str) -> None:
    """It says so and saves all of it anew in place: pages that wait and what was learnt outlive a kill after it."""
    rules, state = tmp_path / "rules.yaml", tmp_path / "state"
    rules.write_text(RULES)
    settings = {
        "RULES": str(rules), "PAGERDUTY__ROUTING_KEY": KEY, "PAGERDUTY__URL": "http://127.0.0.1:9",
        "MAX_PAGE_AGE": "0", "SAVE_EVERY": "50ms",
    }  # fmt: skip
    bodies = list(stream(random.Random(3), int(time.time()) - AGO_S))
    waits = "tocsin_outbox_depth", "oncall/pagerduty", "waiting"
    with running(tmp_path, **settings) as daemon, httpx.Client(trust_env=False) as client:
        door, web = daemon.addresses()
        for body in bodies[: len(bodies) // 2]:
            client.post(door + "/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
        until(lambda: shown(web)[waits] > 0 and bool(list(state.glob("*.npz"))))
        before = shown(web)[waits]
        HARMS[harm](state)
        until(lambda: "the state is saved anew" in daemon.said and (state / FILE_NAME).exists())
        until(lambda: "the state is saved anew" in client.get(web + "/-/ready").text)
        assert client.get(web + "/-/ready").status_code == 200
        for body in bodies[len(bodies) // 2 :]:
            client.post(door + "/v1/traces", content=body, headers={"Content-Type": PROTOBUF})
        until(lambda: shown(web)[waits] > before)
        time.sleep(0.3)
        told = sum(count for name, count in shown(web).items() if name[0] == "tocsin_outbox_depth")
        assert daemon.said.count("the state is saved anew") == 1 and "Traceback" not in daemon.said
        daemon.kill()
    store = Store(state)
    saved = store.load()
    store.close()
    assert saved is not None and saved.alerts and any(name.startswith("detect/") for name in saved.arrays)
    with contextlib.closing(sqlite3.connect(state / FILE_NAME)) as outbox:
        assert outbox.execute("SELECT count(*) FROM outbox").fetchone() == (told,)


def test_what_stands_in_its_place_is_kept(tmp_path: Path) -> None:
    """A backup that was meant is there under another name, and the log says which."""
    with running(tmp_path, SAVE_EVERY="50ms") as daemon:
        daemon.addresses()
        replace_by_garbage(tmp_path / "state")
        until(lambda: "what was found there is kept as tocsin.db.found-" in daemon.said)
        (kept,) = (tmp_path / "state").glob("tocsin.db.found-*")
        assert kept.read_bytes().startswith(b"not a database")
        assert daemon.stop() == 0


def test_a_place_that_another_daemon_took(tmp_path: Path) -> None:
    """Saving fails aloud: two would tell everything twice."""
    with running(tmp_path, SAVE_EVERY="3s") as daemon:
        door, web = daemon.addresses()
        assert post(door, *spans(1)) == 200
        until(lambda: bool(list((tmp_path / "state").glob("*.npz"))))
        move_away(tmp_path / "state")
        other = Store(tmp_path / "state")
        until(lambda: "in use by another Tocsin" in httpx.get(web + "/-/ready", trust_env=False).text)
        assert "cannot save" in daemon.said
        other.close()
        until(lambda: httpx.get(web + "/-/ready", trust_env=False).status_code == 200)
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


@pytest.mark.parametrize("harm", [*WRITTEN, "missing", "directory"])
@pytest.mark.parametrize("name", [FILE_NAME, "both arrays"])
def test_a_start_with_damage_is_one_sentence(tmp_path: Path, name: str, harm: str) -> None:
    """Never a traceback, never afresh: which file it is, and what to do; nothing is deleted."""
    store = Store(tmp_path / "state")
    for offset in (3, 7):
        save(store, offset=offset)
    store.close()
    paths = [tmp_path / "state" / FILE_NAME] if name == FILE_NAME else list((tmp_path / "state").glob("*.npz"))
    for path in paths:
        harmed(path, harm)
    left = {path.name for path in (tmp_path / "state").iterdir()}
    status, lines = ended(tmp_path)
    said = [line for line in lines if line.startswith("tocsin: ")]
    assert status == 1 and len(said) == 1 and "Traceback" not in "".join(lines), lines
    assert str(tmp_path / "state") in said[0] and any(word in said[0] for word in ("restore", "move", "see who")), said
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
    """A file for a directory, or the reverse, as root may open all else: one sentence."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name == "state":
        path.write_bytes(b"")
    else:
        path.mkdir()
    status, lines = ended(tmp_path)
    assert status == 1 and lines[-1].startswith("tocsin: ") and str(path) in lines[-1], lines
    assert "Traceback" not in "".join(lines)
