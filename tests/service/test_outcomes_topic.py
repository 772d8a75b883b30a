"""Outcomes from a topic of plain JSON, through a running daemon and a real broker: none is lost or counted twice."""

import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from aiokafka.errors import KafkaError

from alertrules.outcome_classes import SHIPPED
from service.config.roles import checked
from service.config.settings import PREFIX, SettingsError, load
from service.ledger.late import late_in
from service.ledger.sessions import Sessions
from service.runtime.watchdog import Watchdog
from service.sources import outcomes_topic as module
from service.sources.kafka_security import Security
from service.sources.kafka_settings import KafkaSettings
from service.sources.outcomes_topic import OutcomesTopic
from tests.broker import make_topics
from tests.service.running import Running, running
from tests.service.test_kafka import committed, write
from tests.service.test_sessions_daemon import until

TOPIC = "k_crm_outcomes"


def told(session: str, value: object = True) -> bytes:
    return json.dumps({"session": session, "outcome": "resolved_7d", "value": value, "at": time.time() - 60}).encode()


def counts(daemon: Running) -> dict[str, int]:
    """Late outcomes by what became of them, without those of which there are none."""
    text = httpx.get(daemon.addresses()[1] + "/metrics", trust_env=False).text
    found = re.findall(r'^tocsin_late_outcomes_total\{result="(\w+)"\} (\S+)$', text, re.M)
    return {result: int(float(count)) for result, count in found if float(count)}


def test_they_are_read_once(kafka: str, tmp_path: Path) -> None:
    """Objects and lists; what is wrong is left out and said; after a kill reading goes on where it was."""
    make_topics(kafka, {TOPIC: 1, "k_no_spans": 1})
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka, "KAFKA__TOPICS": "k_no_spans", "KAFKA__GROUP": TOPIC,
        "KAFKA__OUTCOMES_TOPICS": f"{TOPIC} k_misspelt",
    }  # fmt: skip
    many = b"[" + told("c") + b"," + told("d") + b', {"session": "e"}]'
    asyncio.run(write(kafka, TOPIC, [told("a"), told("b"), b"{broken", None, many, b"7", b"[" * 100_000]))
    with running(tmp_path, **settings) as daemon:
        until(lambda: counts(daemon) == {"waiting": 4, "malformed": 4})
        until(lambda: asyncio.run(committed(kafka, TOPIC, f"{TOPIC}-outcomes")) == 7)
        assert f"{TOPIC}/0, offset 2: outcomes that cannot be read were left out: not outcomes in JSON" in daemon.said
        ready = httpx.get(daemon.addresses()[1] + "/-/ready", trust_env=False)
        assert ready.status_code == 200 and "k_misspelt; see TOCSIN_KAFKA__OUTCOMES_TOPICS" in ready.text
        daemon.kill()
    asyncio.run(write(kafka, TOPIC, [told("f")]))
    with running(tmp_path, **settings) as daemon:
        until(lambda: counts(daemon) == {"waiting": 1})
        text = httpx.get(daemon.addresses()[1] + "/metrics", trust_env=False).text
        assert f'tocsin_kafka_outcomes_lag_records{{partition="{TOPIC}/0"}} 0.0' in text
        assert daemon.stop() == 0


def test_brokers_that_are_away_for_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait is twice the one before, up to half a minute, however many tries there are."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2_000:
            raise asyncio.CancelledError

    class Away:
        async def start(self) -> None:
            raise KafkaError("nobody is there")

    async def stopped(made: object) -> None:
        pass

    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", outcomes_topics=TOPIC)
    sessions = Sessions(tmp_path, 1, 1, str.encode)
    one = OutcomesTopic(Security(settings), sessions, Watchdog(1.0), lambda: SHIPPED, time.time_ns)
    monkeypatch.setattr(one, "_consumer", Away)
    monkeypatch.setattr(module, "stopped", stopped)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(one.run())
    assert waited[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0] and set(waited[6:]) == {30.0}
    assert one.failing == "nobody is there"


def test_what_is_wrong_is_told_by_its_place() -> None:
    """The good ones of a body are taken, whatever the others are."""
    bodies = [told("a"), b"\xff", b"[" + told("b") + b', {"outcome": "x"}]']
    found, wrong = late_in(bodies, time.time_ns(), SHIPPED)
    assert [one.session for one in found] == ["a", "b"]
    assert {place: [one.item for one in problems] for place, problems in wrong.items()} == {1: [0], 2: [1]}
    assert wrong[2][0].said.startswith("one of session and trace names what it is of")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ROLE": "ingest", "KAFKA__BOOTSTRAP_SERVERS": "b:9092"}, "role ingest has no record of sessions"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "b:9092", "SESSIONS__RECORD": "false"}, "TOCSIN_SESSIONS__RECORD=false"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "b:9092", "KAFKA__SLOTS_TOPIC": "o"}, "o holds reports of slots"),
        ({}, "say the brokers, too, in TOCSIN_KAFKA__BOOTSTRAP_SERVERS"),
        ({"KAFKA__BOOTSTRAP_SERVERS": "b:9092", "KAFKA__TOPICS": "spans o"}, "o is read as telemetry"),
    ],
)
def test_settings_that_cannot_work(more: dict[str, str], said: str) -> None:
    """Each is told before anything is started."""
    given = {f"{PREFIX}{name}": value for name, value in {"KAFKA__OUTCOMES_TOPICS": "o", **more}.items()}
    with pytest.raises(SettingsError, match=said):
        checked(load(given))
