"""Rules that change under a running daemon: taken as a whole or not at all, and what was learnt stays."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from tests.service.ingest.wire import at_ns, body, chat
from tests.service.running import Running, running
from tests.service.test_windows import rules

FILE = """
groups:
  - name: g
    rules:
      - {{alert: {name}, detector: errors, budget: {budget}}}
"""


def until(condition: Callable[[], bool], daemon: Running, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, daemon.said
        time.sleep(0.05)


def names(web: str) -> list[str]:
    told = httpx.get(f"{web}/api/v1/rules", trust_env=False).json()["rules"]
    return [rule["rule"] for rule in told]


def gauge(web: str) -> str:
    text = httpx.get(f"{web}/metrics", trust_env=False).text
    return next(line for line in text.splitlines() if line.startswith("tocsin_rules_last_reload_successful ")).split()[
        1
    ]


def test_three_ways(tmp_path: Path) -> None:
    """Asked over HTTP, by SIGHUP, and by a file that changed; what is wrong changes nothing, and is said."""
    path = tmp_path / "rules.yaml"
    path.write_text(FILE.format(name="One", budget="1/week"))
    with running(tmp_path, RULES=str(path), RULES_WATCH="false") as daemon:
        _, web = daemon.addresses()
        assert names(web) == ["One"]
        path.write_text(FILE.format(name="Two", budget="1/week"))
        answer = httpx.post(f"{web}/-/reload", trust_env=False)
        message = answer.json()["message"]
        assert message.startswith("1 rules, told: oncall/terminal; Two learns anew until 20"), message
        assert message.endswith(" 00:00 UTC at least, and until it knows 200 calls of a series")
        assert names(web) == ["Two"]
        path.write_text(FILE.format(name="Three", budget="often"))
        answer = httpx.post(f"{web}/-/reload", trust_env=False)
        assert answer.status_code == 400 and answer.json()["error"].startswith(
            f'{path}:5: rule "Three": budget: "often"'
        )
        assert names(web) == ["Two"] and gauge(web) == "0.0"
        assert "but the rule files are wrong since" in httpx.get(f"{web}/-/ready", trust_env=False).text
        path.write_text("receivers: [{name: oncall, slack: {}}]\n" + FILE.format(name="Three", budget="1/week"))
        answer = httpx.post(f"{web}/-/reload", trust_env=False)
        assert answer.status_code == 400 and "needs TOCSIN_SLACK__WEBHOOK_URL" in answer.json()["error"]
        path.write_text(FILE.format(name="Three", budget="1/week").replace("errors", "latency"))
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: names(web) == ["Three"] and gauge(web) == "1.0", daemon)
        assert "Three learns anew until 20" in daemon.said
        assert httpx.post(f"{web}/-/reload", headers={"Host": "evil.example"}, trust_env=False).status_code == 403
        assert daemon.stop() == 0
    with running(tmp_path, RULES=str(tmp_path)) as daemon:
        _, web = daemon.addresses()
        assert names(web) == ["Three"]
        (tmp_path / "more.yaml").write_text(FILE.format(name="Four", budget="1/week"))
        until(lambda: names(web) == ["Four", "Three"], daemon)
        (tmp_path / "more.yaml").unlink()
        until(lambda: names(web) == ["Three"], daemon)
        os.kill(daemon.process.pid, signal.SIGHUP)
        assert daemon.stop() == 0


@pytest.mark.parametrize("after", [1, 40])
def test_what_was_learnt_stays(after: int) -> None:
    """With the same rules a stream that was interrupted is judged as one that was not."""
    undisturbed, disturbed = (Pipeline(IngestLimits(), rules(), 0) for _ in range(2))
    told: list[list[object]] = [[], []]
    for minute in range(60):
        for second in (10, 40):
            at_s = 60 * minute + second
            sent = body(*(replace(chat(at_s + i, 1, at_s - 1, at_s), failed=minute > 30) for i in range(3)))
            batch = Batch((Record(Signal.TRACES, sent, "a/0"),), {})
            for pipeline, said in zip((undisturbed, disturbed), told, strict=True):
                outcome = pipeline.step(batch, at_ns(at_s))
                said += [*outcome.notices, *outcome.transitions]
        if minute == after:
            assert disturbed.take_rules(rules()) == ()
    assert told[0] and told[0] == told[1]


def test_rules_that_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug while they are taken leaves those of before at work."""
    pipeline = Pipeline(IngestLimits(), rules(), 0)
    restore, calls = Pipeline.restore, []

    def fails_once(self: Pipeline, state: object) -> tuple[str, ...]:
        calls.append(state)
        if len(calls) == 1:
            raise ValueError("a bug")
        return restore(self, state)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "restore", fails_once)
    other = rules().rules[0].name
    with pytest.raises(ValueError, match="a bug"):
        pipeline.take_rules(rules())
    assert [rule.name for rule in pipeline.rules.rules] == [other] and len(calls) == 2
