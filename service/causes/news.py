"""What else changed: first sights of versions, models and prompts, models that answer behind a name, other sampling,
and what people tell of.

A page names what was new within the hour before its change began. What an agent had from its own first hour on is not
news.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from alertrules.changes import Change
from alertrules.wording import TITLE_LENGTH_MAX, VALUE_LENGTH_MAX, clean, length
from detectors.core.columns import CELL_LABELS, SECOND_NS, Slot
from detectors.core.series import OVERFLOW_VALUE, SeriesTable

HOUR_NS = 3600 * SECOND_NS
WATCHED = {"agent_version": "version", "model": "model", "tool": "tool"}
"""Labels whose new values are news, and what a page calls them."""
AGENT_PLACE = CELL_LABELS.index("agent")
PLACES = tuple((label, CELL_LABELS.index(label)) for label in WATCHED)
FRESH = ("agent_version", "model")
"""Of those, the ones after which an agent may behave otherwise: see `News.sights`."""
SIGHTS_MAX, CHANGES_MAX, TOLD_MAX = 20_000, 1_000, 3
CHANGE_LIFE_NS = 30 * 24 * HOUR_NS


class Sight(NamedTuple):
    """Something of an agent that was seen for the first time, in words."""

    agent: str
    what: str
    at_ns: int


class News:
    """First sights by agent, and changes that were told. One owner; slots come in time order."""

    def __init__(self) -> None:
        self._births = 0
        self._agents: dict[str, int] = {}  # When each was first seen.
        self._sights: dict[tuple[str, str, str], int] = {}  # By agent, label and value.
        self._answers: dict[tuple[str, str], int] = {}  # By the model that was asked, and the one that answered.
        self._prompts: dict[tuple[str, str], int] = {}  # By agent, and a prompt with its version.
        self._policies: dict[tuple[str, str], int] = {}  # By service, and in words what changed of its sampling.
        self.changes: list[Change] = []

    def add(self, slot: Slot, cells: SeriesTable) -> None:
        """Note what this slot has for the first time."""
        born = cells.born(slot.cell)
        for cell in slot.cell[born > self._births].tolist():
            values = cells.values(cell)
            agent = values[AGENT_PLACE]
            self._agents.setdefault(agent, slot.start_ns)
            for label, place in PLACES:
                if values[place] and values[place] != OVERFLOW_VALUE:
                    self._sights.setdefault((agent, label, values[place]), slot.start_ns)
        self._births = max(self._births, int(born.max(initial=0)))
        for pair in slot.firsts.answers:
            self._answers.setdefault(pair, slot.start_ns)
        for agent, prompt in slot.firsts.prompts:
            self._prompts.setdefault((agent, prompt), slot.start_ns)
        # What changes, and later changes back and again, is news each time.
        self._policies.update(dict.fromkeys(slot.firsts.policies, slot.start_ns))
        for times in (self._agents, self._sights, self._answers, self._prompts, self._policies):
            _shorten(times)

    def tell(self, change: Change) -> None:
        """Take in a change that somebody tells of; one that is told again is one."""
        if change not in self.changes:
            self.changes.append(change)
            self.changes.sort(key=lambda one: (one.at_ns, one.summary))
            before_ns = self.changes[-1].at_ns - CHANGE_LIFE_NS
            self.changes = [one for one in self.changes if one.at_ns >= before_ns][-CHANGES_MAX:]

    def before(self, since_ns: int, until_ns: int, labels: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
        """What changed from an hour before `since_ns` on, told in words, the closest to `since_ns` first.

        labels  of the cells that the page is about
        """
        begin_ns, cells = since_ns - HOUR_NS, list(labels)
        models = {each["model"] for each in cells if each["model"]}
        agents = {each["agent"] for each in cells}
        own = {(each["agent"], label, each[label]) for each in cells for label in WATCHED} & self._sights.keys()
        seen = [(agent, WATCHED[label], value, self._sights[agent, label, value]) for agent, label, value in own]
        prompts = ((*key, at_ns) for key, at_ns in self._prompts.items())
        seen += [(agent, "prompt", prompt, at_ns) for agent, prompt, at_ns in prompts if agent in agents]
        found = [
            (at_ns, f"{what} {clean(value, VALUE_LENGTH_MAX)} is new")
            for agent, what, value, at_ns in seen
            if begin_ns <= at_ns <= until_ns and at_ns >= self._agents.get(agent, at_ns) + HOUR_NS
        ]
        first_ns = min(self._answers.values(), default=0)
        found += [
            (at_ns, f"{clean(asked, VALUE_LENGTH_MAX)} is answered by {clean(answered, VALUE_LENGTH_MAX)}")
            for (asked, answered), at_ns in self._answers.items()
            if asked in models and begin_ns <= at_ns <= until_ns and at_ns >= first_ns + HOUR_NS
        ]
        found += [
            (at_ns, clean(said, TITLE_LENGTH_MAX))
            for (service, said), at_ns in self._policies.items()
            # A service that is no agent may be that of any.
            if begin_ns <= at_ns <= until_ns and (service in agents or service not in self._agents)
        ]
        found += [
            (one.at_ns, one.summary)
            for one in self.changes
            if begin_ns <= one.at_ns <= until_ns and _concerns(one, cells)
        ]
        nearest = sorted(found, key=lambda one: (abs(one[0] - since_ns), one[1]))[:TOLD_MAX]
        return tuple(f"{said} ({_when(at_ns, since_ns)})" for at_ns, said in nearest)

    def sights(self) -> Iterator[Sight]:
        """First sights of versions, models and prompts by agent, and of models that answer behind another's name.

        What was seen in the first hour of all is not news: it was there before anybody looked. A new agent's is.
        """
        since_ns = min(self._agents.values(), default=0) + HOUR_NS
        asking: dict[str, set[str]] = {}
        for (agent, label, value), at_ns in self._sights.items():
            if label == "model":
                asking.setdefault(value, set()).add(agent)
            if label in FRESH and agent and at_ns >= since_ns:
                yield Sight(agent, f"{WATCHED[label]} {clean(value, VALUE_LENGTH_MAX)}", at_ns)
        for (agent, prompt), at_ns in self._prompts.items():
            if agent and at_ns >= since_ns:
                yield Sight(agent, f"prompt {clean(prompt, VALUE_LENGTH_MAX)}", at_ns)
        for (asked, answered), at_ns in self._answers.items():
            if at_ns >= since_ns:
                said = f"{clean(asked, VALUE_LENGTH_MAX)} answered by {clean(answered, VALUE_LENGTH_MAX)}"
                yield from (Sight(agent, said, at_ns) for agent in asking.get(asked, ()) if agent)

    def state(self) -> dict[str, Any]:
        """All state, as JSON knows it."""
        return {
            "births": self._births,
            "agents": list(self._agents.items()),
            "sights": [[*key, at_ns] for key, at_ns in self._sights.items()],
            "answers": [[*key, at_ns] for key, at_ns in self._answers.items()],
            "prompts": [[*key, at_ns] for key, at_ns in self._prompts.items()],
            "policies": [[*key, at_ns] for key, at_ns in self._policies.items()],
            "changes": [[one.at_ns, one.summary, one.labels, one.link] for one in self.changes],
        }

    @classmethod
    def resume(cls, state: Mapping[str, Any] | None) -> "News":
        """What `state` was told of; nothing where there is none."""
        news = cls()
        if state:
            news._births = state["births"]
            news._agents = dict(state["agents"])
            news._sights = {(agent, label, value): at_ns for agent, label, value, at_ns in state["sights"]}
            news._answers = {(asked, answered): at_ns for asked, answered, at_ns in state["answers"]}
            news._prompts = {(agent, prompt): at_ns for agent, prompt, at_ns in state.get("prompts", ())}
            news._policies = {(service, said): at_ns for service, said, at_ns in state.get("policies", ())}
            news.changes = [
                Change(at_ns, summary, tuple((name, value) for name, value in labels), link)
                for at_ns, summary, labels, link in state["changes"]
            ]
        return news


def _concerns(change: Change, cells: list[Mapping[str, str]]) -> bool:
    """Whether a change may concern some of the cells: none of its labels says otherwise."""
    return any(all(each.get(name, value) in (value, "") for name, value in change.labels) for each in cells)


def _when(at_ns: int, since_ns: int) -> str:
    if abs(at_ns - since_ns) < 60 * SECOND_NS:
        return "at that time"
    return f"{length(abs(at_ns - since_ns))} {'before' if at_ns < since_ns else 'after'} it began"


def _shorten(times: dict[Any, int]) -> None:
    """Of too many forget the oldest, down to nine tenths of what there may be."""
    if len(times) > SIGHTS_MAX:
        for key in sorted(times, key=lambda key: times[key])[: len(times) - SIGHTS_MAX * 9 // 10]:
            del times[key]
