"""What foretold bad ends: e-values that keep their promise, tables of noise that stay empty, a sign that is found."""

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertrules.outcome_classes import SHIPPED
from service.ledger.cohort_words import cohort_lines, cohorts_told
from service.ledger.cohorts import SIGNS, Cohorts, cohorts
from service.ledger.histories import NUMBERS, Histories, Who, histories
from service.ledger.late import late_from
from service.ledger.rates import Two, believed, lift, log_e_value
from service.ledger.session_file import reading
from service.ledger.sessions import Sessions
from tests.service.ingest.wire import EPOCH_S, at_ns
from tests.service.ledger.rows import legs


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_mean_of_an_e_value_is_one(n_with: int, n_without: int, data: st.DataObject) -> None:
    """Over all that may be seen where the rates are equal, given how many are bad in all."""
    n = n_with + n_without
    bad = data.draw(st.integers(0, n))
    mean = sum(
        math.exp(log_e_value(Two(k, n_with, bad - k, n_without)))
        * (math.comb(bad, k) * math.comb(n - bad, n_with - k) / math.comb(n, n_with))
        for k in range(max(0, n_with - (n - bad)), min(n_with, bad) + 1)
    )
    assert mean == pytest.approx(1.0)


def test_the_interval_of_a_lift_holds_the_truth() -> None:
    """In 95 of 100 tables, or a little more: it is a bit wide where counts are few."""
    chance, truth = np.random.default_rng(1), 0.2 / 0.1
    tables = [Two(chance.binomial(120, 0.2), 120, chance.binomial(400, 0.1), 400) for _ in range(2_000)]
    held = sum(found.low <= truth <= found.high for found in map(lift, tables))
    assert 0.94 <= held / len(tables) <= 0.98


def test_what_e_bh_believes_is_a_share_of_all() -> None:
    """One e-value must beat all questions over the share; with none there is nothing."""
    assert not believed(np.log([99.0] + [1.0] * 9), 0.1).any()
    assert believed(np.log([101.0] + [1.0] * 9), 0.1).sum() == 1
    assert believed([], 0.1).tolist() == []


def drawn(chance: np.random.Generator, n: int, bad: Any, agents: int = 3) -> Histories:
    """Sessions of a few cohorts with random signs; `bad` gives the rate at which each ends badly, of their numbers."""
    numbers = {name: chance.poisson(0.3, n).astype(float) for name in NUMBERS}
    numbers["lowest_score"] = np.where(chance.random(n) < 0.5, chance.random(n), np.nan)
    for name in ("tokens", "dollars", "seconds"):
        numbers[name] = chance.lognormal(0, 1, n)
    who = [Who(f"agent-{i % agents}", f"v{i % 2}", "m", f"tenant-{i // 6 % 2}") for i in range(n)]
    ended = (chance.random(n) < bad(numbers)).astype(float)
    keys = [i.to_bytes(16, "big") for i in range(n)]
    return Histories(keys, keys, who, np.arange(n), numbers, ended)


def test_a_table_of_noise_is_empty() -> None:
    """Of 200 tables of noise, each of five cohorts and 70 questions, at most a tenth has any answer."""
    chance = np.random.default_rng(7)
    found = [cohorts(drawn(chance, 1_000, lambda numbers: 0.2, agents=1)) for _ in range(200)]
    assert min(one.asked for one in found) > 60
    assert sum(bool(one.believed) for one in found) <= 20


def planted() -> Cohorts:
    """Sessions that end badly three times as often after an empty retrieval."""
    return cohorts(
        drawn(np.random.default_rng(3), 3_000, lambda numbers: np.where(numbers["empty_retrievals"] > 0, 0.36, 0.12))
    )


def test_a_planted_sign_is_found() -> None:
    """In each agent, with a lift whose interval holds the truth, and little else."""
    found = planted().believed
    agents = [one for one in found if not one.who.tenant]
    assert {one.who.agent for one in agents if one.sign.name == "empty_retrieval"} == {"agent-0", "agent-1", "agent-2"}
    assert all(one.lift.low < 3.0 < one.lift.high for one in agents if one.sign.name == "empty_retrieval")
    assert all(one.sign.name == "empty_retrieval" for one in found)


def test_it_is_told_in_words() -> None:
    """How many, how often with the sign and without, how many times; and of noise that there is nothing."""
    lines = list(cohort_lines(cohorts_told(planted())))
    assert lines[0].startswith("3000 sessions, of 3000 of which it is known how they ended, ")
    assert any("a retrieval found nothing: 3" in line and " times (" in line for line in lines), lines
    nothing = cohorts(drawn(np.random.default_rng(1), 60, lambda numbers: 0.2))
    assert list(cohort_lines(cohorts_told(nothing)))[1].startswith("nothing that was seen of them")
    assert next(cohort_lines(cohorts_told(cohorts(nothing_at_all())))).startswith("0 sessions")


def nothing_at_all() -> Histories:
    """An empty record."""
    return Histories([], [], [], np.zeros(0, np.int64), {name: np.zeros(0) for name in NUMBERS}, np.zeros(0))


def test_a_session_is_all_its_legs_and_ends_as_is_known_last(tmp_path: Path) -> None:
    """Sums over legs; what came late is believed before what it said itself; of no class is not known."""
    sessions = Sessions(tmp_path, 10**18, 1_000, lambda name: int(name).to_bytes(16, "big"))
    sessions.add(
        [
            legs(
                {"key": 1, "at_s": 10.0, "model_calls": 2, "outcome": "resolved", "version": "1"},
                {"key": 1, "at_s": 50.0, "model_calls": 3, "version": "2", "dollars": math.nan, "lowest": 0.5},
                {"key": 2, "at_s": 20.0, "outcome": "failed"},
                {"key": 3, "at_s": 30.0, "outcome": "unmapped"},
                {"key": 4, "at_s": 40.0, "outcome": "resolved"},
            )
        ]
    )
    sessions.write(at_ns(100))
    said = {"outcome": "reopened", "at": EPOCH_S + 60}
    told, problems = late_from(
        [{**said, "session": "4", "value": True}, {**said, "session": "1", "outcome": "csat", "value": 3}],
        at_ns(100), SHIPPED,
    )  # fmt: skip
    assert not problems
    sessions.hear(told, at_ns(100))
    with closing(reading(tmp_path)) as connection:
        found = histories(connection, 0, SHIPPED)
        by_csat = histories(connection, 0, SHIPPED, outcome="csat")
        nobody = histories(connection, 0, SHIPPED, agent="nobody")
    assert [int.from_bytes(key) for key in found.session] == [1, 4, 3, 2]
    assert found.numbers["model_calls"].tolist()[0] == 5 and found.who[0].version == "2"
    assert math.isnan(found.numbers["dollars"][0]) and found.numbers["lowest_score"][0] == 0.5
    assert found.numbers["seconds"][0] == 20.0
    assert np.array_equal(found.bad, [0, 1, np.nan, 1], equal_nan=True)
    assert np.isnan(by_csat.bad).all() and nobody.session == []
    assert {sign.number for sign in SIGNS} <= set(found.numbers)
