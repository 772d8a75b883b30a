"""What a destination is sent next, out of what waits for it: how things stand, and not all that has happened.

    a later notice of a group       makes those needless that it tells again
    a group that is over            is told as over, if its page had to wait; where it was told, its resolve is enough
    more groups than can be told    are one notice together: pages, resolves, and what is over, each by themselves
    a new cause                     goes before what is left of a storm

PagerDuty knows a group by a key of its own, so there every group is opened and resolved by itself; a resolve is sent
even where the page never was, as an answer that was lost may have opened an incident.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alertrules.notice import Notice, Status
from alertrules.together import together
from detectors.core.columns import SECOND_NS
from service.notifiers.request import Habit
from service.store.outbox import PUT_OFF_MAX_NS, Outbox, Pending, Row

PATIENCE_NS = 60 * SECOND_NS
"""A page that waited so long is late: if it is over by then, it is told as over."""
HITCH_NS = 5 * SECOND_NS
"""A failure that lasts no longer is a hitch: the page is tried again, though its resolve has come by then."""
BATCH_MAX = 4
"""So few groups that came together are a cause of their own; they are told one by one though others wait."""


@dataclass(frozen=True)
class Due:
    """One delivery: a notice, the rows that it tells, and the rows that it makes needless.

    Without rows it tells again what the destination has been told.
    """

    notice: Notice
    rows: tuple[Row, ...]
    replaced: tuple[int, ...]
    groups: frozenset[str]

    @property
    def seqs(self) -> tuple[int, ...]:
        return tuple(row.seq for row in self.rows)

    @property
    def attempts(self) -> int:
        return max((row.attempts for row in self.rows), default=0)


@dataclass(frozen=True)
class Waits:
    """All that waits for one destination, as it is to be told.

    pages, resolves, over  groups, those to be told first in front
    """

    pages: tuple[Pending, ...]
    resolves: tuple[Pending, ...]
    over: tuple[Pending, ...]


def ended_unheard(
    outbox: Outbox, target: str, pending: Iterable[Pending], is_failing: bool, now_ns: int
) -> tuple[str, ...]:
    """Groups whose pages are not to be sent any more: they had to wait, and are over before one was told."""
    return tuple(
        one.group
        for one in pending
        if one.is_over and one.pages
        and now_ns - one.first_ns > (HITCH_NS if is_failing or one.attempts else PATIENCE_NS)
        and not outbox.has_heard(target, one.group)
    )  # fmt: skip


def waits(outbox: Outbox, target: str, pending: Iterable[Pending]) -> Waits:
    """What waits, by what it tells: pages by urgency and the newest cause first, the rest by age."""
    pages, resolves, over = [], [], []
    for one in pending:
        if one.pages and not (one.is_over and outbox.has_heard(target, one.group)):
            pages.append(one)
        elif one.was_over:
            over.append(one)
        else:
            resolves.append(one)
    pages.sort(key=lambda one: (one.urgency, -one.added_ns, one.first_seq))
    for others in (resolves, over):
        others.sort(key=lambda one: (one.urgency, one.first_seq))
    return Waits(tuple(pages), tuple(resolves), tuple(over))


def next_due(
    outbox: Outbox, target: str, pending: Iterable[Pending], habit: Habit, now_ns: int, steady_ns: int
) -> Due | None:
    """The next delivery to a destination, out of what is pending and in nobody's hand; None while nothing is due."""
    waiting = waits(outbox, target, pending)
    for groups, status in (
        (waiting.pages, Status.FIRING), (waiting.resolves, Status.RESOLVED), (waiting.over, Status.OVER)
    ):  # fmt: skip
        ready = [one for one in groups if is_due(one, steady_ns)]
        if not ready:
            continue
        if not habit.keeps_incidents and _are_one(groups, ready[0], status, habit, now_ns):
            return _all(outbox, target, groups, status)
        return _one(outbox, target, ready[0], habit)
    return None


def is_due(one: Pending, steady_ns: int) -> bool:
    return not steady_ns < one.not_before_ns <= steady_ns + PUT_OFF_MAX_NS


def put_off_until_ns(pending: Iterable[Pending], steady_ns: int) -> int | None:
    """When the first of what is put off is due again; None if nothing is."""
    return min((one.not_before_ns for one in pending if not is_due(one, steady_ns)), default=None)


def _are_one(groups: Sequence[Pending], first: Pending, status: Status, habit: Habit, now_ns: int) -> bool:
    """Whether these are told together: more than may wait, unless the newest are few and the others have time."""
    if status is Status.OVER:
        return len(groups) > 1
    if len(groups) <= habit.singly_max:
        return False
    batch = sum(one.added_ns == first.added_ns for one in groups)
    oldest_ns = min(one.first_ns for one in groups)
    return status is Status.RESOLVED or batch > BATCH_MAX or now_ns - oldest_ns > PATIENCE_NS


def _all(outbox: Outbox, target: str, groups: Sequence[Pending], status: Status) -> Due:
    latest: list[Row] = []
    replaced: list[int] = []
    for one in groups:
        *before, last = _rows_until(outbox, target, one)
        latest.append(last)
        replaced += [row.seq for row in before]
    notice = together([row.notice for row in latest], status)
    return Due(notice, tuple(latest), tuple(replaced), frozenset(one.group for one in groups))


def _one(outbox: Outbox, target: str, one: Pending, habit: Habit) -> Due:
    rows = _rows_until(outbox, target, one)
    notices = [row.notice for row in rows]
    place = next(i for i, told in enumerate(notices) if not any(_tells_again(one, told) for one in notices[i + 1 :]))
    row = rows[place]
    is_over = one.was_over and row.notice.status is Status.RESOLVED and not habit.keeps_incidents
    notice = replace(row.notice, status=Status.OVER) if is_over else row.notice
    return Due(notice, (row,), tuple(before.seq for before in rows[:place]), frozenset((one.group,)))


def _rows_until(outbox: Outbox, target: str, one: Pending) -> list[Row]:
    """A group's rows, without its resolve where its page is to be told before that."""
    rows = outbox.rows(target, one.group)
    heard = one.is_over and outbox.has_heard(target, one.group)
    if one.pages and one.is_over and not heard:
        rows = [row for row in rows if row.notice.status is not Status.RESOLVED]
    return rows


def _tells_again(later: Notice, earlier: Notice) -> bool:
    """Whether a later notice of a group tells all of an earlier one: a page names every alert that is open."""
    if later.status in (Status.RESOLVED, Status.FIRING):
        return True
    return set(earlier.alert_ids) <= set(later.alert_ids)
