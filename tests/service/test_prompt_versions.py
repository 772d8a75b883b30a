"""What is new of a prompt, or behind the name of a model, beside what ran before: from the bodies to the page."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from alertrules.notice import Notice
from alertrules.parse import PACKS, load
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from tests.service.ingest.wire import at_ns, body, chat, json_body

MINUTES, BEGINS = 150, 75
"""How long the stream is, and when what is new comes."""
CALLS, CANARY = 40, 0.25
OF_PROMPT = "gen_ai__prompt__name", "gen_ai__prompt__version"


def prompt(version: str) -> dict[str, str]:
    return dict(zip(OF_PROMPT, ("greeting", version), strict=True))


def answer(model: str) -> dict[str, str]:
    return {"gen_ai__request__model": "gpt-4o", "gen_ai__response__model": model}


def stream(old: Mapping[str, str], new: Mapping[str, str], bad: tuple[float, float], fails: bool) -> Iterator[bytes]:
    """A minute's calls each, a quarter of them new from BEGINS on.

    bad    shares of the old and the new ones that fail, or else end at their limit of tokens
    """
    rng, number = random.Random(1), 0
    for minute in range(MINUTES):
        sent = []
        for _ in range(CALLS):
            number += 1
            is_new = minute >= BEGINS and rng.random() < CANARY
            is_bad = rng.random() < bad[is_new]
            reason = '["length"]' if is_bad and not fails else '["stop"]'
            end_s = 60 * minute + rng.random() * 58
            call = chat(
                number, 1, end_s - rng.lognormvariate(0, 0.4), end_s, 0, gen_ai__agent__name="support",
                tenant__id="globex", gen_ai__response__finish_reasons=reason, **(new if is_new else old),
            )  # fmt: skip
            sent.append(replace(call, failed=is_bad and fails))
        yield json_body(*sent) if minute % 2 else body(*sent)


def pages(bodies: Iterator[bytes]) -> list[tuple[int, Notice]]:
    """What the shipped rules tell, by the minute in which they do."""
    one, told = Pipeline(IngestLimits(), load([PACKS / "versions.yaml"]), 0), list[tuple[int, Notice]]()
    for minute, raw in enumerate(bodies):
        outcome = one.step(Batch((Record(Signal.TRACES, raw, "p/0"),), {}), at_ns(60 * minute + 60))
        told += [(minute, notice) for notice in outcome.notices]
    return told


def test_a_prompt_version_that_fails_more_pages() -> None:
    """Within the hour, by its own rule alone, with what it stands beside."""
    ((minute, page),) = pages(stream(prompt("v3"), prompt("v4"), (0.02, 0.25), fails=True))
    assert BEGINS < minute < BEGINS + 60 and page.alerts[0].rule == "PromptVersionWorse"
    labels = {"tenant": "globex", "agent": "support", "operation": "llm", "prompt": "greeting v4"}
    assert dict(page.alerts[0].labels) == labels
    said = "\n".join((page.title, *page.lines))
    assert "prompt greeting v4 of support for globex is worse" in said
    assert "failures, began " in said and "greeting v4; greeting v3 beside it is unchanged" in said


def test_a_model_that_answers_behind_a_name_pages() -> None:
    """Its answers are cut off more often than those of the one that answered before."""
    old, new = "gpt-4o-2024-08-06", "gpt-4o-2024-11-20"
    ((minute, page),) = pages(stream(answer(old), answer(new), (0.02, 0.25), fails=False))
    assert BEGINS < minute < BEGINS + 60 and page.alerts[0].rule == "ResponseModelWorse"
    assert dict(page.alerts[0].labels)["model"] == "gpt-4o" and dict(page.alerts[0].labels)["response_model"] == new
    said = "\n".join((page.title, *page.lines))
    assert f"{new}, which answers for gpt-4o, is worse for support of globex" in said
    assert "calls that ended badly, began " in said and f"{new}; {old} beside it is unchanged" in said


@pytest.mark.parametrize(("old", "new"), [(prompt("v3"), prompt("v4")), (answer("gpt-4o-a"), answer("gpt-4o-b"))])
def test_what_is_no_worse_does_not(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Nor do the rules that compare something else."""
    assert pages(stream(old, new, (0.1, 0.1), fails=True)) == []


def test_another_prompt_is_no_version_of_it() -> None:
    """A prompt with another name may fail more often: it asks for something else."""
    other = dict(zip(OF_PROMPT, ("extract", "v1"), strict=True))
    assert pages(stream(prompt("v3"), other, (0.02, 0.25), fails=True)) == []
