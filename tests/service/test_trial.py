"""`tocsin page --test`: it arrives where pages arrive, and says what does not."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from service.demo.standins import Answer, PagerDutyStandIn, SlackStandIn, serving
from tests.service.running import ROOT


async def asked(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", "page", *arguments]
    environ = {f"TOCSIN_{name}": value for name, value in settings.items()} | {"PATH": "/usr/bin:/bin"}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_test_page_to_both(tmp_path: Path) -> None:
    """Both take it, and it says that it is a test; then one refuses its key."""
    slack, pagerduty = SlackStandIn(time.monotonic), PagerDutyStandIn(time.monotonic)

    async def run() -> None:
        async with serving(slack) as at_slack, serving(pagerduty) as at_pagerduty:
            settings = {
                "SLACK__WEBHOOK_URL": f"{at_slack.url}/services/T/B/hunter2", "PAGERDUTY__ROUTING_KEY": "k" * 32,
                "PAGERDUTY__URL": at_pagerduty.url,
            }  # fmt: skip
            done = await asked("--test", **settings)
            assert (done.returncode, done.stderr) == (0, "")
            lines = done.stdout.splitlines()
            assert [line.rpartition(": ")[2] for line in lines] == ["took it"] * 2
            assert "nothing is wrong" in slack.posts[0].text and len(pagerduty.open()) == 1
            slack.script.append(Answer(404, "no_service"))
            done = await asked("--test", "--json", **settings)
            told = json.loads(done.stdout)
            assert done.returncode == 1 and told["ok"] is False
            assert "did not take it (gone: no_service); look at its key or hook" in told["destinations"][1]
            assert "hunter2" not in done.stdout + done.stderr

    asyncio.run(run())


def test_every_receiver_is_asked(tmp_path: Path) -> None:
    """All receivers of the rule files, the key that two of them share once; a name asks one alone."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "groups:\n- name: g\n  rules:\n"
        "  - {alert: Fails, detector: static, signal: error_ratio, above: 5%, severity: page}\n"
        "receivers:\n- {name: sre, pagerduty: {}}\n- {name: support, pagerduty: {key: support}}\n"
        "- {name: boss, pagerduty: {}}\n"
        "route:\n  receiver: sre\n  routes:\n  - {receiver: support, matchers: ['agent=\"support\"'], continue: true}\n"
        "  - {receiver: boss, matchers: ['agent=\"support\"']}\n"
    )
    pagerduty = PagerDutyStandIn(time.monotonic)

    async def run() -> None:
        async with serving(pagerduty) as at:
            settings = {
                "PAGERDUTY__ROUTING_KEY": "k" * 32, "PAGERDUTY__URL": at.url, "RULES": str(rules),
                "PAGERDUTY__ROUTING_KEYS__SUPPORT": "s" * 32,
            }  # fmt: skip
            done = await asked("--test", **settings)
            assert (done.returncode, done.stderr) == (0, "")
            names = [line.partition(",")[0] for line in done.stdout.splitlines()]
            assert names == ["sre/pagerduty", "support/pagerduty"]
            done = await asked("--test", "--receiver", "support", **settings)
            assert len(done.stdout.splitlines()) == 1 and len(pagerduty.open()) == 3

    asyncio.run(run())


def test_nobody_by_that_name() -> None:
    """Wrong use is said, and exits with 2; a page that is no test cannot be made."""
    done = asyncio.run(asked("--test", "--receiver", "nobody"))
    assert (done.returncode, done.stderr) == (2, '"nobody" is not a receiver; there are oncall\n')
    assert asyncio.run(asked()).returncode == 2
    done = asyncio.run(asked("--test", SLACK__WEBHOOK_URL="http://127.0.0.1:9/services/T/B/hunter2"))
    assert done.returncode == 1 and "did not take it (unreachable: ConnectError)" in done.stdout
