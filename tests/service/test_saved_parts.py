"""State of a newer version: its unknown parts begin anew and are named, the others go on."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx
import numpy as np
import pytest

from alertrules.marks import Kind, Mark
from alertrules.matchers import matchers_of
from alertrules.notice import Status
from alertrules.silences import Silence
from service.batch import Batch
from service.exchange.merge import MERGE_FORMAT, Merge
from service.ingest.join.join import UNSEEDED
from service.ingest.limits import IngestLimits
from service.pipeline.front import Merging
from service.pipeline.pipeline import FIRST, Pipeline, State
from service.pipeline.saved_parts import PARTS
from service.runtime.taken_up import take_up
from service.store.sqlite import FILE_NAME, SCHEMA_VERSION, Store, connect
from tests.service.running import running
from tests.service.test_pipeline import RULES, end_ns, notices, pipeline, records, rules
from tests.service.test_store import delivery

APART = RULES + "route: {group_by: [alert, agent]}\n"
CUT, HOUR_NS = 130, 3600 * 10**9
"""A record at which agent-1 has an open page."""


@cache
def saved() -> State:
    """The state there, with a mark and a silence in it."""
    one = pipeline(APART)
    one.step(Batch(tuple(records()[:CUT]), {}), end_ns(CUT))
    silence = Silence("s", matchers_of({"agent": "agent-3"}), end_ns(CUT), end_ns(CUT) + HOUR_NS, end_ns(CUT), "", "")
    mark = Mark(Kind.INCIDENT, "", "ToolsFail", (("agent", "agent-1"),), 0, 0, end_ns(CUT), "ann", "")
    one.step(Batch((), {}, marks=(mark, silence)), end_ns(CUT))
    assert one.router.audience().silences and one.detect.runners[0].ledger.marks
    return one.snapshot()


def newer(*parts: str) -> State:
    """The same as a version would have written it that knows more of these parts."""
    known = {**PARTS, **FIRST}
    written = {name: known[name].version + 1 if name in known else 1 for name in parts}
    return State(saved().arrays, {**saved().alerts, "parts": {**saved().alerts["parts"], **written}})


def taken(*parts: str) -> Pipeline:
    """A pipeline that was restored of that, and has said what it could not read."""
    one = pipeline(APART)
    one.restore(newer(*parts))
    assert set(one.unread) == set(parts)
    return one


def rest(one: Pipeline) -> list[tuple[str, Status]]:
    """What agent-1 is told of after that."""
    outcomes = [one.step(Batch((record,), {}), end_ns(CUT + i)) for i, record in enumerate(records()[CUT:])]
    told = notices([*outcomes, one.flush(end_ns(len(records())))])
    return [(notice.rule, notice.status) for notice in told if dict(notice.labels).get("agent") == "agent-1"]


def test_a_state_says_its_parts() -> None:
    """Of the detectors, those that are in use; and what a state of this version says can all be read."""
    assert set(saved().alerts["parts"]) == {
        "ingest", "views", "alerts", "marks", "spend", "causes", "news", "detector static", "detector errors"
    }  # fmt: skip
    assert not taken().unread and rest(taken()) == [("ToolsFail", Status.RESOLVED)]


@pytest.mark.parametrize("part", ["spend", "causes", "news", "marks", "detector errors", "forecasts"])
def test_what_other_parts_need_not(part: str) -> None:
    """The open page ends as it would have: neither a part of another kind nor one that is not known here is needed."""
    one = taken(part)
    learnt, before = one.detect.snapshot(), saved().arrays
    same = [name for name in learnt if np.array_equal(learnt[name], before.get(f"detect/{name}", np.empty(0)))]
    assert any(name.startswith("ToolsFail/view") for name in same)
    assert any(name.startswith("Drift/view/series") for name in same) is (part != "detector errors")
    assert bool(one.detect.runners[0].ledger.marks) is bool(one.router.audience().silences) is (part != "marks")
    kept = one.snapshot().arrays
    known = [
        np.array_equal(kept.get(name, ()), array) for name, array in before.items() if name.startswith("causes/past")
    ]
    assert known and all(known) is (part != "causes")
    assert rest(one) == [("ToolsFail", Status.RESOLVED)]


def test_the_first_stage() -> None:
    """No tick is judged twice, and the open page ends."""
    one = taken("ingest")
    assert one.ingest.watermark_ns == one.detect.open_ns
    assert rest(one) == [("ToolsFail", Status.RESOLVED)]


@pytest.mark.parametrize("part", ["views", "detector static"])
def test_what_a_rule_has_learnt(part: str) -> None:
    """The rule begins anew; its open alert is closed, and where the trouble goes on the page is that of a new one."""
    one = pipeline(APART)
    assert set(one.restore(newer(part))) == {"ToolsFail", "Slow"} | ({"Drift"} if part == "views" else set())
    assert [identity.rule for _, identity in one.detect.orphans] == ["ToolsFail"]
    assert rest(one) == [("ToolsFail", Status.FIRING), ("ToolsFail", Status.RESOLVED)]


def test_open_alerts() -> None:
    """What still holds is told again, in the group that it had, so its end is told where it was opened."""
    one = taken("alerts")
    assert one.router.audience().silences
    assert rest(one)[:2] == [("ToolsFail", Status.FIRING), ("ToolsFail", Status.RESOLVED)]


def test_slots_of_role_detect() -> None:
    """Its first stage begins anew, too, and takes nothing that was judged."""
    one = Pipeline(IngestLimits(), rules(), 0, front=Merging(IngestLimits(), UNSEEDED, UNSEEDED))
    state = one.snapshot()
    parts = {**state.alerts["parts"], "slots": MERGE_FORMAT + 1}
    one.detect.open_ns = end_ns(CUT)
    state = replace(one.snapshot(), alerts={**state.alerts, "parts": parts})
    one.restore(state)
    assert isinstance(one.ingest, Merge) and one.ingest.watermark_ns == end_ns(CUT) and set(one.unread) == {"slots"}


@pytest.mark.parametrize("version", ["2", None, -1, 10**40, True])
def test_a_version_that_is_none(version: object) -> None:
    """It is a part that cannot be read, as any other."""
    one = pipeline(APART)
    one.restore(State(saved().arrays, {**saved().alerts, "parts": {"spend": version}}))
    assert set(one.unread) == {"spend"}


def later(directory: Path, *statements: str) -> None:
    """Have a newer version change the database."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as changed:
        for statement in (*statements, f"PRAGMA user_version = {SCHEMA_VERSION + 1}"):
            changed.execute(statement)
        changed.commit()


def test_the_outbox(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is kept under another name, an empty one is begun, and state and offsets go on."""
    store = Store(tmp_path)
    name = store.write_arrays(saved().arrays, {"spans/0": 7}, saved().alerts)
    store.save(name, {"spans/0": 7}, saved().alerts, [delivery(1)], 1)
    store.close()
    later(tmp_path, "ALTER TABLE outbox ADD COLUMN more TEXT", "CREATE INDEX outbox_more ON outbox (more)")
    store = Store(tmp_path)
    offsets, lost = take_up(store, pipeline(APART), rules(APART), 0)
    assert offsets == {"spans/0": 7} and [part.name for part in lost] == ["outbox"]
    assert "outbox (version 3, known up to 2): notices that waited to be sent are not sent" in caplog.text
    store.save(store.write_arrays(saved().arrays, {}, saved().alerts), {}, saved().alerts, [delivery(2)], 2)
    with closing(connect(tmp_path)) as now:
        found = [now.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                 for table in ("outbox", "outbox_of_version_3")]  # fmt: skip
    assert found == [1, 1]
    store.close()
    again = Store(tmp_path)
    assert not again.unread
    again.close()


def test_a_daemon_says_it(tmp_path: Path) -> None:
    """In the log, in /-/ready and as a metric."""
    caught = Store(tmp_path / "state")
    alerts = {"detect": {}, "router": pipeline().router.snapshot(), "news": None, "parts": {"spend": 2}}
    arrays = pipeline().snapshot().arrays
    caught.save(caught.write_arrays(arrays, {}, alerts), {}, alerts, (), 1)
    caught.close()
    with running(tmp_path) as daemon:
        _, web = daemon.addresses()
        ready = httpx.get(f"{web}/-/ready", trust_env=False).text
        assert "a newer version wrote the state, and these parts of it began anew: spend" in ready
        page = httpx.get(f"{web}/metrics", trust_env=False).text
        assert 'tocsin_state_parts_lost_total{part="spend"} 1.0' in page
        assert "a part of it cannot be read: spend (version 2, known up to 1): dollars an hour" in daemon.said
