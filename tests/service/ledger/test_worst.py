"""The weekly review: what is looked at, why, what it is held against, and how it is shown."""

from typing import Any

import numpy as np

from alertrules.links import NO_LINKS, Links
from service.ledger.cohorts import SIGNS, cohorts
from service.ledger.histories import NUMBERS, Histories, Who
from service.ledger.review_words import review_lines, review_markdown, review_told
from service.ledger.worst import PLAIN_WEIGHTS, Review, review, weights
from tests.service.ledger.test_cohorts import drawn, nothing_at_all


def quiet(n: int, agent: str = "helper", **numbers: Any) -> Histories:
    """Sessions in which nothing happened, but for these numbers."""
    columns = {name: np.zeros(n) for name in NUMBERS} | {"lowest_score": np.full(n, np.nan)}
    columns |= {name: np.asarray(values, float) for name, values in numbers.items()}
    keys = [i.to_bytes(16, "big") for i in range(n)]
    return Histories(keys, keys, [Who(agent, "", "", "")] * n, np.arange(n), columns, np.full(n, np.nan))


def test_every_sign_has_a_plain_weight() -> None:
    """One that is new would else raise in the middle of a week."""
    assert set(PLAIN_WEIGHTS) == {sign.name for sign in SIGNS}


def test_those_with_signs_come_first_by_cause() -> None:
    """The cause is the sign that weighs most; a session without any is not among the worst, though ten may be shown."""
    blocked, failed = np.zeros(40), np.zeros(40)
    blocked[3], failed[[3, 5, 6]] = 1, 1
    found = review(quiet(40, guardrail_blocks=blocked, failed_tool_calls=failed), {}, 1)
    shown = [(int.from_bytes(one.session), one.cause.name if one.cause else "") for one in found.worst]
    assert shown == [(5, "failed_tool_call"), (6, "failed_tool_call"), (3, "guardrail_block")]
    assert [sign.name for sign in found.worst[2].signs] == ["guardrail_block", "failed_tool_call"]
    assert len(found.audit) == 10


def test_what_is_learnt_weighs_instead() -> None:
    """A sign that foretold bad ends in an agent is its cause there."""
    learnt = {("helper", "failed_tool_call"): 2.0}
    one = {"guardrail_blocks": [1.0], "failed_tool_calls": [1.0]}
    for agent, cause in (("helper", "failed_tool_call"), ("other", "guardrail_block")):
        (found,) = review(quiet(1, agent, **one), learnt, 1).worst
        assert found.cause is not None and found.cause.name == cause


def test_the_random_sample_is_the_seed_s() -> None:
    """The same sessions for the same week, whoever asks and whatever else came since; others for another week."""
    week = quiet(1_000)
    samples = [{one.session for one in review(week, {}, seed).audit} for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2] and len(samples[0]) == 10
    more = {one.session for one in review(quiet(1_050), {}, 1).audit}
    assert len(more & samples[0]) >= 8


def reviewed(times: float) -> tuple[Review, int]:
    """A week of 20,000 sessions that end badly so many times as often after an empty retrieval, by what was learnt."""
    chance = np.random.default_rng(5)

    def rate(numbers: Any) -> Any:
        return np.where(numbers["empty_retrievals"] > 0, 0.1 * times, 0.1)

    learnt = weights(cohorts(drawn(chance, 9_000, rate)))
    return review(drawn(chance, 20_000, rate), learnt, 1), len(learnt)


def test_the_review_is_worth_something() -> None:
    """More of the worst hundredth ended badly than of a random one, where signs foretell it; else about as many."""
    found, learnt = reviewed(5.0)
    (worst, known), (audit, others) = found.worst_bad, found.audit_bad
    assert learnt == 3 and known == others == 200
    assert worst.low > audit.high
    same, learnt = reviewed(1.0)
    assert learnt == 0 and same.worst_bad[0].low < 0.1 < same.worst_bad[0].high


def test_it_is_shown() -> None:
    """In lines and in Markdown, with links where they are set; names of telemetry stay text."""
    week = quiet(30, "a|b [x](y)\n# z", guardrail_blocks=np.arange(30) == 4)
    told = review_told(review(week, {}, 1), Links(trace="https://traces.example.com/{trace_id}"))
    lines, markdown = list(review_lines(told)), list(review_markdown(told))
    assert lines[0] == "30 sessions; the 1 that are most worth a look, by likely cause"
    assert lines[1].startswith("  ended badly: not known of any; of as many at random not known of any; weights are pl")
    assert lines[2] == "a guardrail stopped something: 1" and f"https://traces.example.com/{4:032x}" in lines[3]
    rows = [line for line in markdown if line.startswith("| [")]
    assert rows[0].startswith(
        f"| [{'0' * 8}](https://traces.example.com/{4:032x}) | agent a\\|b \\[x\\]\\(y\\) \\# z |"
    )
    assert "### A guardrail stopped something: 1" in markdown
    assert told["worst_bad"] == {"known": 0, "share": None, "low": None, "high": None}


def test_a_record_without_sessions() -> None:
    """Nothing to look at, and nothing that fails."""
    told = review_told(review(nothing_at_all(), {}, 1), NO_LINKS)
    assert next(review_lines(told)).startswith("0 sessions; the 0") and list(review_markdown(told))
