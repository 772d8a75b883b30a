"""Near misses raise what a series is asked for, and nothing else does."""

import numpy as np

from detectors.core.dispersion import KEEP
from detectors.core.misses import MOST, Misses
from detectors.core.rows import resize

H = 16.0
JUDGED, FALLEN = np.full(3, True), np.full(3, False)


def days(count: int, *, top: float, standing: bool = False) -> Misses:
    """So many days of three series, on each of which the first one's evidence came as high as `top`."""
    misses = Misses()
    resize(misses, 3)
    for _ in range(count):
        misses.note(np.array([0], np.int32), np.array([top]))
        misses.refit(KEEP, JUDGED, np.array([standing, False, False]), np.array([H]))
    return misses


def test_nothing_is_asked_without_misses() -> None:
    """The theorem's threshold stands, and it stands where evidence barely passes its half."""
    assert days(30, top=0.0).asked.tolist() == [1, 1, 1]
    assert days(2, top=H / 2 + 0.1).asked[1] == 1


def test_a_series_that_keeps_nearly_paging_is_asked_for_more() -> None:
    """Most of all that series, and never more than so many times the threshold."""
    asked = days(30, top=9.5).asked
    assert 1 <= asked[1] < asked[0] <= MOST
    assert days(60, top=100.0).asked[0] == MOST


def test_what_pages_is_no_miss() -> None:
    """A page says nothing of what falls short of one."""
    assert days(30, top=np.inf).asked.tolist() == [1, 1, 1]


def test_what_still_stands_is_no_miss_yet() -> None:
    """Evidence on its way to a page counts once it has fallen: then as high as it had come."""
    misses = days(5, top=15.0, standing=True)
    assert misses.count.tolist() == [0, 0, 0]
    misses.refit(KEEP, JUDGED, FALLEN, np.array([H]))
    assert misses.count.tolist() == [1, 0, 0]
    assert misses.excess.tolist() == [15.0 - H / 2, 0, 0]
