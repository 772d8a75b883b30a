"""What came of sessions by the day on which they ended: what comes late counts on the session's own day."""

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alertrules.outcome_classes import SHIPPED
from service.ledger.by_day import Cohort, by_day
from service.ledger.by_day_words import COHORTS_SHOWN_MAX, day_lines, days_told
from service.ledger.histories import NUMBERS, Histories, Who, histories
from service.ledger.late import late_from
from service.ledger.session_file import reading
from service.ledger.sessions import Sessions
from tests.service.ingest.wire import EPOCH_S, at_ns
from tests.service.ledger.rows import legs

DAY_S = 86_400.0
DAY_NS = 86_400 * 10**9


def drawn(*said: tuple[int, float], agent: str = "support", version: str = "v1") -> Histories:
    """Sessions by their day and how they ended."""
    n = len(said)
    return Histories(
        [bytes([i]) for i in range(n)], [b""] * n, [Who(agent, version, "", "")] * n,
        np.array([day * DAY_NS + 5 for day, _ in said], np.int64), {name: np.zeros(n) for name in NUMBERS},
        np.array([bad for _, bad in said]),
    )  # fmt: skip


def test_a_late_outcome_counts_on_the_day_of_its_session(tmp_path: Path) -> None:
    """Told two days later: the day it is told on stays as it was."""
    midnight_s = -(EPOCH_S % DAY_S)
    sessions = Sessions(tmp_path, 10**18, 1_000, lambda name: int(name).to_bytes(16, "big"))
    first, last = midnight_s + 0.5 * DAY_S, midnight_s + 2.5 * DAY_S
    sessions.add([legs({"key": 1, "at_s": first}, {"key": 2, "at_s": first + 60}, {"key": 3, "at_s": last})])
    sessions.write(at_ns(last))

    def days() -> list[tuple[int, int, int]]:
        with closing(reading(tmp_path)) as connection:
            (cohort,) = by_day(histories(connection, 0, SHIPPED))
        assert (cohort.agent, cohort.version) == ("helper", "1")
        return [(day.sessions, day.known, day.bad) for day in cohort.days]

    assert days() == [(2, 0, 0), (1, 0, 0)]
    said: dict[str, Any] = {"session": "1", "outcome": "reopened", "value": True, "at": EPOCH_S + last}
    told, problems = late_from(said, at_ns(last), SHIPPED)
    assert not problems
    sessions.hear(told, at_ns(last))
    assert days() == [(2, 1, 1), (1, 0, 0)]


def test_a_day_of_which_more_is_to_come_is_told_so() -> None:
    """By the share that is known of the days before; the first one has none before it."""
    (cohort,) = by_day(drawn(*[(1, 0.0)] * 9, (1, math.nan), *[(3, 1.0)] * 9, (3, 0.0), (5, 0.0), (5, math.nan)))
    assert [day.settled for day in cohort.days] == [True, True, False]
    assert [(day.day_ns, day.known, day.bad) for day in cohort.days] == [
        (DAY_NS, 9, 0), (3 * DAY_NS, 10, 9), (5 * DAY_NS, 1, 0)
    ]  # fmt: skip
    lines = list(day_lines(days_told([cohort])))
    assert lines[1] == "support, version v1:"
    assert lines[3].startswith(
        "  1970-01-04 10 sessions, of 100% it is known how they ended, 90% of these badly (59.6% to "
    )
    assert lines[4].endswith("; more are to come, by the days before")


def test_what_is_not_known_is_no_share() -> None:
    """Nothing is known of a day: null in JSON, and no word in lines; of no session there is none."""
    told = days_told(by_day(drawn((2, math.nan))))
    (day,) = told["cohorts"][0]["days"]
    assert (day["day"], day["known"], day["bad_share"], day["bad_share_low"]) == ("1970-01-03", 0, None, None)
    assert list(day_lines(told))[-1] == "  1970-01-03 1 sessions, of 0% it is known how they ended"
    assert list(day_lines(days_told(by_day(drawn())))) == ["no session has ended in these days"]


@pytest.mark.parametrize("extra", [0, 3])
def test_the_largest_cohorts_are_shown(extra: int) -> None:
    """As many as fit; how many there are in all is said."""
    cohorts = [Cohort(f"agent-{i}", "", ()) for i in range(COHORTS_SHOWN_MAX + extra)]
    told = days_told(cohorts)
    assert len(told["cohorts"]) == COHORTS_SHOWN_MAX and told["cohorts_in_all"] == COHORTS_SHOWN_MAX + extra
    assert (list(day_lines(told))[-1] == f"… and {extra} more") == bool(extra)
