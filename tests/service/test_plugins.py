"""A detector and a notifier are one file each: both are dropped in, and a page of the one goes out by the other."""

import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.service.ingest.wire import EPOCH_S, body, chat
from tests.service.running import Running

DETECTOR = '''
"""Pages every series that counts anything."""

import math

import numpy as np

from detectors.core.columns import Finding, Verdict
from detectors.core.contract import Judgement
from detectors.core.descriptor import Descriptor, Gauge


class Always:
    def __init__(self, terms):
        self.seen = np.zeros(0)

    def tick(self, tick, modes):
        self.seen = np.pad(self.seen, (0, max(0, len(modes) - len(self.seen))))
        self.seen[tick.series] += tick.count
        found = Finding("ratio", 0.0, 1.0, tick.start_ns, 1.0, math.nan, math.nan, "")
        return {row: Judgement(Verdict.ANOMALOUS, found) for row in tick.series.tolist() if modes[row] == 0}

    def ask(self, row, asked): ...
    def forget(self, rows): ...
    def doubt(self, row): ...
    def excess(self): return math.nan
    def gauges(self): return {"seen": self.seen}
    def snapshot(self): return {}
    def restore(self, arrays): ...


DETECTOR = Descriptor(Always, {"seen": Gauge("tocsin_always_seen", "Calls seen so far.")}, subject="spoke")
'''
NOTIFIER = '''
"""Prints a page in capitals."""

from dataclasses import dataclass

from pydantic import Field

from alertrules.rules import Written
from service.notifiers.notifier import Notifier
from service.notifiers.request import Delivered, Habit, Pace
from service.config.setting_types import Section


class Settings(Section):
    name: str = Field("", description="whom to shout at")


class Words(Written):
    mark: str = "!"


@dataclass(frozen=True)
class Target:
    name: str
    mark: str
    secrets: tuple[str, ...] = ()

    @property
    def identity(self): return ("shout", self.name, self.mark)

    @property
    def place(self): return f"shouting at {self.name}"


def render(notice, target):
    return (f"{target.name.upper()}, {notice.lines[0].upper()}{target.mark}",)


NOTIFIER = Notifier(
    Settings, Words,
    targets=lambda settings, words: (Target(settings.name, words.mark),) if words else (),
    every=lambda settings: (Target(settings.name, "!"),),
    pace=Pace(10.0, 10), habit=Habit(20, False), render=render, render_least=render,
    outcome=lambda *answer: Delivered(),
)
'''
MAIN = """
import sys
import detectors, service.notifiers
detectors.__path__.append(sys.argv[1])
service.notifiers.__path__.append(sys.argv[2])
from service.cli import main
sys.exit(main(sys.argv[3:]))
"""
RULES = """
groups: [{name: g, rules: [{alert: Spoke, detector: always, budget: 1/week, by: [agent]}]}]
receivers: [{name: oncall, shout: {mark: '?'}}]
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The program, with both files beside ours."""
    for folder, name, text in (("d", "always.py", DETECTOR), ("n", "shout.py", NOTIFIER)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "rules.yaml").write_text(RULES)
    return [sys.executable, "-c", MAIN, str(tmp_path / "d"), str(tmp_path / "n")]


def test_both_are_dropped_in(tmp_path: Path, command: list[str]) -> None:
    """The rule language knows the one, receivers and settings the other, metrics both; and the page arrives."""
    settings = {
        "TOCSIN_RULES": str(tmp_path / "rules.yaml"), "TOCSIN_LATENESS": "1s", "TOCSIN_SHOUT__NAME": "everybody",
    }  # fmt: skip
    daemon = Running(tmp_path, settings, [*command, "run"])
    try:
        otlp, web = daemon.addresses()
        for ago_s in (200, 100, 0):
            end_s = time.time() - EPOCH_S - ago_s
            sent = body(chat(ago_s + 1, 1, end_s - 1, end_s))
            headers = {"Content-Type": "application/x-protobuf"}
            assert httpx.post(f"{otlp}/v1/traces", content=sent, headers=headers).status_code == 200
        until_s = time.monotonic() + 20
        while "EVERYBODY, AGENT" not in daemon.said:
            assert time.monotonic() < until_s, daemon.said
            time.sleep(0.1)
        (line,) = [line for line in daemon.said.splitlines() if "EVERYBODY" in line][:1]
        assert "(FROM 0%)" in line and "SPOKE 1 OF 1 (100%" in line and line.endswith("?")
        assert "told: oncall/shout, which is shouting at everybody" in daemon.said
        assert 'tocsin_always_seen{agent="shop",rule="Spoke"}' in httpx.get(f"{web}/metrics").text
        (told,) = httpx.get(f"{web}/api/v1/destinations").json()["destinations"]
        assert told["name"] == "oncall/shout"
    finally:
        daemon.kill()
