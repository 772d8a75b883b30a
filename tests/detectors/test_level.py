"""The detector of any series: it keeps its budget, sees what is plain, and answers alike however it is fed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.core.columns import Floats
from detectors.core.extremes import episodes, peaks, tail, threshold
from detectors.level import DAY_S, WEEK, WEEK_S, Level, Scores

MIDNIGHT_S = 1_767_225_600.0
FIVE_MINUTES_S = 300.0


def steps(n: int, step_s: float = FIVE_MINUTES_S) -> Floats:
    """Times of n steps from a midnight on."""
    times: Floats = MIDNIGHT_S + np.arange(n, dtype=np.float64) * step_s
    return times


def rhythm(rng: np.random.Generator, weeks: float, step_s: float = FIVE_MINUTES_S) -> tuple[Floats, Floats]:
    """Times and values of a series with a daily wave and noise with heavy tails."""
    times = steps(round(weeks * WEEK_S / step_s), step_s)
    noise = rng.standard_t(5, len(times))
    values: Floats = 100 + 30 * np.sin(2 * np.pi * times / DAY_S) + 4 * noise
    return times, values


def pages(times: Floats, found: Scores) -> Floats:
    """Times of the pages, in days since the start."""
    days: Floats = (times[found.page] - times[0]) / DAY_S
    return days


def same(one: Scores, other: Scores, rows: slice = slice(None)) -> None:
    """Equal to the last bit."""
    for name in ("score", "threshold", "expected", "page"):
        np.testing.assert_array_equal(getattr(one, name)[rows], getattr(other, name)[rows])


@pytest.mark.parametrize(("step_s", "budget"), [(300.0, 0.25), (300.0, 1.0), (3600.0, 1.0), (60.0, 1.0)])
def test_the_budget_is_kept(step_s: float, budget: float) -> None:
    """Where nothing happens, pages stay below 1.5 times the budget, over many series-weeks, cold start included."""
    rng = np.random.default_rng(11)
    series, weeks = (6 if step_s == 60 else 12), 14
    spent = 0
    for _ in range(series):
        times, values = rhythm(rng, weeks, step_s)
        spent += len(pages(times, Level(step_s, budget).scores(times, values)))
    assert spent <= 1.5 * budget * series * weeks


def test_a_budget_is_spent() -> None:
    """A threshold that never pages keeps any budget: this one pages at least a quarter as often as it may."""
    rng = np.random.default_rng(12)
    spent = 0
    for _ in range(12):
        times, values = rhythm(rng, 10)
        spent += len(pages(times, Level(FIVE_MINUTES_S, 1.0).scores(times, values)))
    assert spent >= 0.25 * 12 * 10


@pytest.mark.parametrize("height", [80.0, -80.0])
def test_a_spike_is_a_page(height: float) -> None:
    """Three steps far outside the noise, either way, are one page that says what was expected."""
    times, values = rhythm(np.random.default_rng(3), 4)
    values[6000:6003] += height
    found = Level(FIVE_MINUTES_S, 0.25).scores(times, values)
    assert found.page[6000:6012].tolist() == [True] + [False] * 11
    assert found.expected[6000] == pytest.approx(values[6000] - height, abs=30)


def test_a_new_level_is_one_page() -> None:
    """A shift that stays pages as it comes, and is learnt: not a page an hour."""
    times, values = rhythm(np.random.default_rng(4), 5)
    values[6000:] += 60
    found = Level(FIVE_MINUTES_S, 0.25).scores(times, values)
    assert found.page[6000:6003].any()
    assert found.page[6000:].sum() <= 3


def test_what_a_person_calls_noise_is_learnt() -> None:
    """An episode keeps its expectation until somebody says that nothing is wrong; then an hour is enough."""
    times, values = rhythm(np.random.default_rng(4), 3.2)
    values[6000:] += 60
    one, other = Level(FIVE_MINUTES_S, 0.25), Level(FIVE_MINUTES_S, 0.25)
    one.scores(times[:6020], values[:6020]), other.scores(times[:6020], values[:6020])
    other.release()
    held, learnt = (level.scores(times[6020:6040], values[6020:6040]) for level in (one, other))
    assert held.above[-5:].all() and not learnt.above[-5:].any()


def test_the_time_of_day_is_no_news() -> None:
    """A steep rise that comes every morning pages on none of the mornings of the fourth week."""
    rng = np.random.default_rng(5)
    times = steps(4 * 2016)
    values = np.where((times % DAY_S) // 3600 == 8, 300.0, 50.0) + rng.normal(0, 3, len(times))
    assert not (pages(times, Level(FIVE_MINUTES_S, 0.25).scores(times, values)) > 21).any()


@pytest.mark.parametrize("value", [0.0, 45.0, -1e-9, 1e300])
def test_a_constant_series_is_quiet_until_it_moves(value: float) -> None:
    """No page for what never changes, one for the first value that does."""
    times = steps(2016)
    values = np.full(2016, value)
    assert not Level(FIVE_MINUTES_S, 1.0).scores(times, values).page.any()
    values[1500] = -1.0
    assert np.flatnonzero(Level(FIVE_MINUTES_S, 1.0).scores(times, values).page).tolist() == [1500]


def test_the_unit_of_a_series_is_nothing_to_it() -> None:
    """Dollars or millionths of a dollar: the same pages."""
    times, values = rhythm(np.random.default_rng(6), 3)
    values[4000] += 100
    one, other = (Level(FIVE_MINUTES_S, 1.0).scores(times, values * unit) for unit in (1.0, 2.0**-40))
    np.testing.assert_array_equal(one.page, other.page)


@pytest.mark.filterwarnings("error")
def test_no_value_is_too_wild() -> None:
    """NaN and infinities are no values, huge ones are; scores stay finite and later steps are judged as before."""
    rng = np.random.default_rng(7)
    times, values = rhythm(rng, 3)
    values[rng.integers(0, len(values), 60)] = np.nan
    values[[3000, 3500, 4000, 4001]] = [np.inf, -np.inf, 1e308, -1e308]
    found = Level(FIVE_MINUTES_S, 1.0).scores(times, values)
    assert np.isnan(found.score[~np.isfinite(values)]).all()
    assert not np.isinf(found.score).any() and found.page[4000]
    assert np.isfinite(found.score[4100:][np.isfinite(values[4100:])]).all()


@pytest.mark.parametrize("gap_steps", [1, 40, 600, 20_000])
def test_a_gap_is_no_page(gap_steps: int) -> None:
    """Silence pages nobody, nor does the return from it; after four weeks of silence a series is new."""
    times, values = rhythm(np.random.default_rng(8), 3 + gap_steps / 2016)
    there = np.ones(len(times), np.bool_)
    there[4000 : 4000 + gap_steps] = False
    found = Level(FIVE_MINUTES_S, 0.25).scores(times[there], values[there])
    assert not found.page[3990:4100].any()
    assert (gap_steps > 28 * 288) == bool(np.isinf(found.threshold[4000]))


def test_how_a_series_is_cut_changes_nothing() -> None:
    """Any split, one by one or at once, through gaps, wild and repeated rows: equal to the last bit."""
    rng = np.random.default_rng(9)
    times, values = rhythm(rng, 1.5)
    keep = np.sort(rng.choice(len(times), 2400, replace=False))
    keep = np.delete(keep, slice(900, 1100))
    times, values = times[keep] + rng.uniform(0, 200, len(keep)), values[keep]
    values[500], values[501], times[700] = np.nan, np.inf, times[650]
    values[1500:1560] += 300  # Held back while it lasts.
    whole = Level(FIVE_MINUTES_S, 4.0).scores(times, values)
    cuts = np.sort(rng.integers(0, len(times), 60))
    parts, level = np.split(np.arange(len(times)), cuts), Level(FIVE_MINUTES_S, 4.0)
    for part in parts:
        same(level.scores(times[part], values[part]), Scores(*_rows(whole, part)))
    level = Level(FIVE_MINUTES_S, 4.0)
    for row, (time_s, value) in enumerate(zip(times.tolist(), values.tolist(), strict=True)):
        score = level.observe(time_s, value)
        if score is None:
            assert np.isnan(whole.score[row])
        else:
            said = (score.score, score.threshold, score.expected, score.page, score.above)
            told = (whole.score[row], whole.threshold[row], whole.expected[row], whole.page[row], whole.above[row])
            assert said == told


def _rows(found: Scores, rows: NDArray[np.intp]) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    return found.score[rows], found.threshold[rows], found.expected[rows], found.page[rows]


def test_the_future_changes_no_answer() -> None:
    """What comes later, however wild, leaves every earlier score as it is."""
    times, values = rhythm(np.random.default_rng(10), 2)
    whole = Level(FIVE_MINUTES_S, 1.0).scores(times, values)
    values[2500:] = 1e9
    same(whole, Level(FIVE_MINUTES_S, 1.0).scores(times, values), slice(2500))


def test_a_step_is_judged_once() -> None:
    """A second value of a step, an earlier one, or one at no time at all is no answer and teaches nothing."""
    times, values = rhythm(np.random.default_rng(13), 1)
    one, other = Level(FIVE_MINUTES_S, 1.0), Level(FIVE_MINUTES_S, 1.0)
    one.scores(times, values), other.scores(times, values)
    assert one.observe(times[-1] + 1, 1e6) is None
    assert one.observe(times[0], 1e6) is None and one.observe(float("nan"), 1.0) is None
    assert one.observe(times[-1] + 300, 100.0) == other.observe(times[-1] + 300, 100.0) is not None


@pytest.mark.parametrize("step_s", [1.0, 7.0, 420.0, 5000.0, DAY_S, WEEK_S])
def test_any_step_width(step_s: float) -> None:
    """Seconds or weeks: judged after a hundred scores or so, and a plain spike is a page."""
    rng = np.random.default_rng(14)
    times = steps(30_000 if step_s < 60 else 1500, step_s)
    values = rng.normal(100, 5, len(times))
    values[-1] = 400
    assert Level(step_s, 0.25).scores(times, values).page[-1]


def test_episodes_and_peaks() -> None:
    """Flags no further apart than the quiet are one episode; its peak is its highest score."""
    scores = np.array([0, 5, 0, 9, np.nan, 0, 0, 0, 6, 0.0])
    assert peaks(scores, 1.0, 3).tolist() == [9, 6]
    assert peaks(scores, 9.0, 3).tolist() == []
    assert [ends.tolist() for ends in episodes(np.array([2]), 3)] == [[2], [2]]


def test_tails_are_found_again() -> None:
    """Scale and shape of drawn generalised Pareto laws."""
    chance = (np.arange(4000) + 0.5) / 4000
    for shape in (-0.1, 0.2, 0.4):
        found = tail(2 * (chance**-shape - 1) / shape)
        assert found == pytest.approx((2, shape), abs=0.1)


def test_a_smaller_budget_is_a_higher_threshold() -> None:
    """And the threshold of normal noise lies where its own tail has it."""
    scores = abs(np.random.default_rng(15).normal(0, 1, 28 * 288))
    heights = [threshold(scores, 4, budget, 6) for budget in (0.05, 0.25, 1.0, 4.0)]
    assert heights == sorted(heights, reverse=True)
    assert 4 <= heights[1] < 5.5


def test_a_blip_that_repeats_stops_paging() -> None:
    """Constant but for one equal blip a week: the first two page, a budget of one a month then learns them."""
    times = steps(12 * 2016)
    values = np.full(len(times), 45.0)
    values[2500::2016] = 90
    found = Level(FIVE_MINUTES_S, 0.25).scores(times, values)
    assert found.page.sum() <= 3


def by_week(rng: np.random.Generator, weeks: int, weekend: float = 0.2) -> tuple[Floats, Floats]:
    """Times and values of a series that is a fifth as high at weekends, with a step of half an hour."""
    times = steps(round(weeks * WEEK_S / 1800), 1800.0)
    day = (times // DAY_S).astype(int) % 7  # 1970 began on a Thursday: 2 is a Saturday.
    wave = 100 + 60 * np.sin(2 * np.pi * times / DAY_S)
    values: Floats = wave * np.where((day == 2) | (day == 3), weekend, 1.0) + 3 * rng.standard_t(5, len(times))
    return times, values


def test_a_season_of_a_week_knows_its_weekends() -> None:
    """The budget is kept, and a Saturday that is like a Friday is seen: by days, it is what the last days were."""
    rng, spent, seen = np.random.default_rng(21), 0, {1: 0, WEEK: 0}
    for _ in range(6):
        times, values = by_week(rng, 10)
        detector = Level(1800.0, 0.5, WEEK)
        spent += len(pages(times, detector.scores(times, values)))
        saturday = next(i for i in range(8 * 7 * 48, len(times)) if int(times[i] // DAY_S) % 7 == 2) + 24
        for season_days in seen:
            fresh, changed = Level(1800.0, 0.5, season_days), values.copy()
            changed[saturday : saturday + 8] *= 5
            found = fresh.scores(times[: saturday + 8], changed[: saturday + 8])
            seen[season_days] += bool(found.page[saturday:].any())
    assert spent <= 1.5 * 0.5 * 6 * 10
    assert seen[WEEK] == 6 and seen[WEEK] >= seen[1]


def test_a_season_of_a_week_goes_on_after_a_restart() -> None:
    """The same scores, whether it was saved in between or not."""
    times, values = by_week(np.random.default_rng(22), 4)
    whole, first, again = (Level(1800.0, 1.0, WEEK) for _ in range(3))
    half = len(times) // 2 + 17
    first.scores(times[:half], values[:half])
    again.resume(first.state())
    expected, found = whole.scores(times, values), again.scores(times[half:], values[half:])
    for name in ("score", "threshold", "expected", "page"):
        np.testing.assert_array_equal(getattr(expected, name)[half:], getattr(found, name))
