"""`tocsin compare` and its page, of a running daemon that has read three releases."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from alertrules.parse import PACKS
from service.cli import main
from service.sources.otlp_http import PROTOBUF
from tests.service.ingest.wire import EPOCH_S, Sent, body, chat
from tests.service.running import running

BEFORE, BESIDE = 65, 70
"""Minutes of the old versions alone, and of both."""
RELEASES = {
    "worse": (8, 0.05, 0.6), "same": (40, 0.3, 0.3), "few": (4, 0.05, 0.05), "prompted": (8, 0.05, 0.6),
    "answered": (8, 0.05, 0.6),
}  # fmt: skip
"""Calls a minute of each version, and the failed shares of the old and the new one."""


def said(agent: str, version: str) -> dict[str, str]:
    """How a call tells its version: the agent's own, that of its prompt, or which model answered."""
    if agent == "prompted":
        return {"gen_ai__prompt__name": "greeting", "gen_ai__prompt__version": version}
    if agent == "answered":
        return {"gen_ai__response__model": f"gpt-4o-mini-{version}"}
    return {"gen_ai__agent__version": version}


def spans(begin_s: float) -> Iterator[list[Sent]]:
    """All calls, a minute at a time; of `few` the new version has one."""
    rng, number = random.Random(1), 0
    for minute in range(BEFORE + BESIDE):
        sent = []
        for agent, (calls, *shares) in RELEASES.items():
            for version, failed in zip(("v1", "v2"), shares, strict=True):
                is_there = version == "v1" or minute >= BEFORE
                count = (calls if version == "v1" or agent != "few" else minute == BEFORE) if is_there else 0
                for _ in range(count):
                    number += 1
                    at_s = begin_s + 60 * minute + rng.random() * 58
                    took_s = rng.lognormvariate(-1, 0.6)
                    is_failed = rng.random() < failed
                    call = chat(
                        number, 1, at_s, at_s + took_s, 0, gen_ai__agent__name=agent,
                        session__outcome="escalated" if is_failed else "resolved", **said(agent, version),
                    )  # fmt: skip
                    sent.append(replace(call, failed=is_failed))
        yield sent


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the daemon."""
    directory: Path = tmp_path_factory.mktemp("compare")
    begin_s = time.time() - EPOCH_S - 60 * (BEFORE + BESIDE)
    with running(directory, RULES=str(PACKS / "versions.yaml"), DECODER="compiled") as daemon:
        door, address = daemon.addresses()
        with httpx.Client(trust_env=False, timeout=30) as client:
            for sent in spans(begin_s):
                answer = client.post(f"{door}/v1/traces", content=body(*sent), headers={"Content-Type": PROTOBUF})
                assert answer.status_code == 200, answer.text
            for _ in range(100):  # The last minute that is read waits for what may come late.
                if client.get(f"{address}/api/v1/compare", params=asked("same")).status_code == 200:
                    break
                time.sleep(0.1)
        yield address.removeprefix("http://")


def asked(agent: str, old: str = "v1", new: str = "v2", **more: str) -> dict[str, str]:
    return {"agent": agent, "old": old, "new": new, **more}


@pytest.mark.parametrize(
    ("agent", "status", "said"),
    [
        ("worse", 1, "worse: v2 is worse than v1"),
        ("same", 0, "same: v2 shows no difference that matters from v1"),
        ("few", 3, "few: v2 has too little traffic to be told from v1"),
    ],
)
def test_a_pipeline_learns_it_by_the_status(
    web: str, agent: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Worse is 1, no difference 0, and too little to tell is neither."""
    assert main(["compare", agent, "v1", "v2", "--at", web]) == status
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == said and any("failures: " in line for line in lines)


@pytest.mark.parametrize(
    ("agent", "old", "new", "rule", "told"),
    [
        ("prompted", "greeting v1", "greeting v2", "PromptVersionWorse", "prompt greeting v2"),
        (
            "answered", "gpt-4o-mini-v1", "gpt-4o-mini-v2", "ResponseModelWorse",
            "model gpt-4o-mini, response_model gpt-4o-mini-v2",
        ),
    ],
)  # fmt: skip
def test_prompts_and_models_that_answered_are_asked_for_alike(
    web: str, agent: str, old: str, new: str, rule: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the words that their labels have; the answer says which series it is about."""
    assert main(["compare", agent, old, new, "--at", web]) == 1
    first, series, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{agent}: {new} is worse than {old}" and f"operation llm, {told}: worse" in series
    assert main(["compare", agent, old, new, "--at", web, "--json"]) == 1
    assert [one["rule"] for one in json.loads(capsys.readouterr().out)["series"]] == [rule]
    assert main(["compare", agent, "v1", new, "--at", web]) == 2
    assert f"compared are now {new} with {old}" in capsys.readouterr().err


def test_what_is_told_of_each_measure(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Levels of both on the same minutes, how many times as often with its interval, the evidence and a verdict."""
    assert main(["compare", "worse", "v1", "v2", "--at", web, "--json"]) == 1
    series, sessions = json.loads(capsys.readouterr().out)["series"]
    assert series["labels"] == {"agent": "worse", "operation": "llm", "agent_version": "v2"}
    assert series["evidence"] > series["needed"] == pytest.approx(3.689, abs=0.001)  # Two series share the twentieth.
    assert 0 < series["usd_a_call"]["old"] == pytest.approx(series["usd_a_call"]["new"], rel=0.01)
    failed = next(one for one in series["measures"] if one["measure"] == "failed")
    assert 0.02 < failed["old"] < 0.1 and 0.5 < failed["new"] < 0.7 and failed["verdict"] == "worse"
    assert 1.5 < failed["times_as_often"]["least"] < failed["new"] / failed["old"] < failed["times_as_often"]["most"]
    slow = next(one for one in series["measures"] if one["measure"] == "slow")
    assert slow["unit"] == "s" and slow["new"] == pytest.approx(slow["old"], rel=0.2) and slow["verdict"] != "worse"
    assert sessions["labels"]["operation"] == "session" and sessions["verdict"] == "worse"
    told = {one["measure"]: (one["unit"], one["verdict"]) for one in sessions["measures"]}
    assert told["outcome"] == ("share", "worse") and told["dear"] == ("usd", "same") and "ended" not in told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("worse", "v0", "v2"), "compared are now v2 with v1"),
        (("nobody", "v1", "v2"), "nothing of it is compared now"),
        (("worse", "v1", "v2", "--tenant", "acme"), "nothing of it is compared now"),
    ],
)
def test_what_is_not_compared_is_no_success(
    web: str, given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *given, "--at", web]) == 2
    assert said in capsys.readouterr().err


def test_wrong_requests(web: str) -> None:
    """Say what to ask instead."""
    for params, said in (
        ({"agent": "a", "old": "v1"}, '"new" is missing; ask ?agent=support&old=v2.3&new=v2.4'),
        (asked("a", versions="b"), '"versions" is not known; there are agent, old, new, tenant'),
    ):
        answer = httpx.get(f"http://{web}/api/v1/compare", params=params, trust_env=False)
        assert (answer.status_code, answer.json()["error"]) == (400, said)
    assert main(["compare", "a", "v1", "v2", "--at", "127.0.0.1:1"]) == 2


def test_the_rule_explains_itself(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As any rule does: its series, their evidence, and what each may cost."""
    assert main(["explain", "AgentVersionWorse", "--at", web, "--series", "agent=worse"]) == 0
    assert "agent worse" in capsys.readouterr().out
