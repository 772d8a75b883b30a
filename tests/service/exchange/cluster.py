"""Instances of all roles as processes, over a real broker; and what they told in the end."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from alertrules.notice import Notice, to_json
from service.batch import Record
from service.store.files import DATABASE
from tests.broker import make_topics
from tests.service.running import Running
from tests.service.test_pipeline import RULES

SECONDS = 60.0


class Cluster:
    """One system: its topics of spans, slots and states, and its instances by name; with role sum if it has shares."""

    def __init__(
        self, directory: Path, address: str, name: str, partitions: int, shares: int, **settings: str
    ) -> None:  # fmt: skip
        self.directory, self.address, self.partitions = directory, address, partitions
        self.spans, self.slots, self.state = f"{name}_spans", f"{name}.slots", f"{name}.state"
        (directory / "rules.yaml").write_text(RULES)
        self._settings = {
            "KAFKA__BOOTSTRAP_SERVERS": address, "KAFKA__GROUP": name, "KAFKA__TOPICS": self.spans,
            "KAFKA__SLOTS_TOPIC": self.slots, "KAFKA__STATE_TOPIC": self.state, "RULES": str(directory / "rules.yaml"),
            "MAX_PAGE_AGE": "0", "SAVE_EVERY": "1s", "DECODER": "compiled", **settings,
        }  # fmt: skip
        self.running: dict[str, Running] = {}
        topics = {self.spans: partitions, self.slots: shares or 1, self.state: 1}
        if shares:
            self._settings["KAFKA__SUMS_TOPIC"] = f"{name}.sums"
            topics[f"{name}.sums"] = 1
        make_topics(address, topics)

    def start(self, name: str, role: str, **more: str) -> Running:
        """Start an instance; it has the data directory of its name."""
        place = self.directory / name
        place.mkdir(exist_ok=True)
        self.running[name] = Running(place, self.settings(name, role) | more)
        return self.running[name]

    def settings(self, name: str, role: str) -> dict[str, str]:
        """Its environment."""
        settings = {"ROLE": role, "DATA_DIR": str(self.directory / name / "state"), **self._settings}
        return {f"TOCSIN_{key}": value for key, value in settings.items()}

    def end(self) -> None:
        """Nothing outlives the test."""
        for one in self.running.values():
            if one.process.poll() is None:
                one.kill()

    def told(self, name: str) -> dict[str, str]:
        """What an instance of role detect (or all) has to tell, by the notices' ids."""
        path = self.directory / name / "state" / DATABASE
        if not path.exists():
            return {}
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            try:
                return dict(connection.execute("SELECT notice_id, payload FROM outbox").fetchall())
            except sqlite3.OperationalError:
                return {}  # It has no table yet.

    def until_told(self, name: str, expected: Sequence[Notice], seconds: float = SECONDS) -> dict[str, str]:
        """Wait until so many notices are there; all that are."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and len(self.told(name)) < len(expected):
            time.sleep(0.1)
        return self.told(name)


def payloads(notices: Sequence[Notice]) -> dict[str, str]:
    """The same of notices, as the outbox has them."""
    return {notice.notice_id: to_json(notice) for notice in notices}


def differences(told: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What one side has and the other has not, and what of the rest is not the same."""
    said = [f"not told: {expected[key]}" for key in expected.keys() - told.keys()]
    said += [f"told in excess: {told[key]}" for key in told.keys() - expected.keys()]
    for key in told.keys() & expected.keys():
        one, other = json.loads(told[key]), json.loads(expected[key])
        said += [f"{field}: {one[field]} != {other[field]}" for field in other if one[field] != other[field]]
    return said


async def produce(address: str, logs: Sequence[Sequence[Record]], topic: str, rows: range, pause_s: float = 0) -> None:
    """Write these rows of the logs, each to its partition."""
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    try:
        for row in rows:
            for partition, log in enumerate(logs):
                await producer.send(topic, log[row].body, partition=partition)
            if pause_s:
                await producer.flush()
                await asyncio.sleep(pause_s)
        await producer.flush()
    finally:
        await producer.stop()
