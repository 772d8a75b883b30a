"""What a test expects against what was told, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alertrules.wording import labels_text, length
from service.replay.pages_told import Page, Ticket
from service.reports.explain import worded
from service.rule_tests.play import Played
from service.rule_tests.written import ExpectedPage, ExpectedTicket, RuleTest, Window

STATE_LINES_MAX = 6


def problems(test: RuleTest, played: Played) -> list[str]:
    """Everything that is not as expected; empty where the test holds."""
    found = [*played.problems]
    left = list(played.pages)
    for expected in test.pages:
        mine = [page for page in played.pages if _is_about(expected, page)]
        left = [page for page in left if page not in mine]
        found += _missing(expected, played) if not mine else [p for page in mine for p in _wrong(expected, page)]
    found += [f"not expected: {told(page)}" for page in left]
    if test.tickets is not None:
        found += _tickets(test.tickets, played.tickets)
    return found + list(_not_looked_at(test, played))


def _is_about(expected: ExpectedPage, page: Page) -> bool:
    labels = dict(page.alert.labels)
    return page.alert.rule == expected.alert and all(labels.get(n, "") == v for n, v in expected.labels.items())


def _missing(expected: ExpectedPage, played: Played) -> list[str]:
    who = labels_text(tuple(sorted(expected.labels.items())))
    others = [told(page) for page in played.pages if page.alert.rule == expected.alert]
    lines = [f"expected: {expected.alert} for {who}{_when(expected)}; it was not told"]
    lines += [f"    told instead: {text}" for text in others]
    state = played.states.get(expected.alert)
    lines += [f"    at the end: {line.strip()}" for line in _near(state, expected.labels)] if state else []
    return ["\n".join(lines)]


def _near(state: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """What the rule knew of these series in the end."""
    shown = [one for one in state["shown"] if all(one["labels"].get(n, "") == v for n, v in labels.items())]
    lines = list(worded({**state, "shown": shown, "tickets": [], "matching": len(shown)}))
    return lines[3 : 3 + STATE_LINES_MAX]


def _wrong(expected: ExpectedPage, page: Page) -> Iterator[str]:
    """What is not as expected of a page that was."""
    alert = page.alert
    if not expected.holds(page.at_ns):
        yield f"expected: {expected.alert}{_when(expected)}; {told(page)}"
    if expected.severity and alert.severity != expected.severity:
        yield f"expected: severity {expected.severity}; {told(page)} has severity {alert.severity}"
    if expected.receiver and page.receiver != expected.receiver:
        yield f"expected: receiver {expected.receiver}; {told(page)} was told to {page.receiver}"
    for text in expected.title:
        if text not in alert.title:
            yield f'expected: a title with "{text}"; it is "{alert.title}"'
    for text in expected.text:
        if text not in f"{alert.title}\n{alert.line}\n{alert.description}":
            yield f'expected: a text with "{text}"; it is "{alert.line}"' + (
                f' and "{alert.description}"' if alert.description else ""
            )
    if expected.ends is None:
        return
    if page.ended_ns is None:
        yield f"expected: its end{_when(expected.ends)}; {told(page)}, and was not closed"
    elif not expected.ends.holds(page.ended_ns):
        yield f"expected: its end{_when(expected.ends)}; {told(page)}"


def _tickets(expected: Sequence[ExpectedTicket], tickets: Sequence[Ticket]) -> Iterator[str]:
    left = list(tickets)
    for one in expected:
        mine = [
            ticket for ticket in tickets
            if ticket.rule == one.alert and one.holds(ticket.at_ns) and all(text in ticket.text for text in one.text)
        ]  # fmt: skip
        left = [ticket for ticket in left if ticket not in mine]
        if not mine:
            yield f"expected: a ticket of {one.alert}{_when(one)}; it was not written"
    yield from (f"not expected: a ticket of {one.rule} at {moment(one.at_ns)}: {one.text}" for one in left)


def _not_looked_at(test: RuleTest, played: Played) -> Iterator[str]:
    """Rules that the test is about and that saw nothing of it: that they are silent says nothing."""
    for name in test.rules:
        state = played.states.get(name)
        if state is None or state["series"]:
            waits = state is not None and not state["judged"]
            if waits:
                yield f"{name} was still learning at the end, so it could not page; write learn: 3d or more"
        else:
            yield f"{name} looked at nothing of this traffic: compare its select and by with the test"


def told(page: Page) -> str:
    """A page in a sentence."""
    who = labels_text(page.alert.labels)
    ended = "" if page.ended_ns is None else f", closed at {moment(page.ended_ns)}"
    return f'{page.alert.rule} for {who} at {moment(page.at_ns)}{ended}: "{page.alert.title}"'


def _when(window: Window) -> str:
    after = f" after {moment(window.after)}" if window.after else ""
    before = f" before {moment(window.before)}" if window.before is not None else ""
    return f"{after} and{before}" if after and before else after + before


def moment(at_ns: int) -> str:
    """A time of the test: `20 min`, and `2 h into the learning` before it begins.

    >>> moment(0), moment(90 * 10**9)
    ('0 s', '1 min 30 s')
    """
    return length(at_ns) if at_ns >= 0 else f"{length(-at_ns)} before the test began"
