"""How many prompts, and models that answer for others, the cells of one agent tell apart.

A program may make a version of its prompt for each call, of the time or of a hash. Once there are too many, its calls
go on to count, and without that label.
"""

from alertrules.wording import VALUE_LENGTH_MAX, clean
from detectors.core.columns import CELL_LABELS, CELL_LABELS_BEFORE, Arrays
from detectors.core.series import OVERFLOW, SeriesTable

OF_AGENT_MAX = 200
"""Of each label of an agent, as long as cells are kept."""
_AGENT = CELL_LABELS.index("agent")
_BOUNDED = tuple(CELL_LABELS.index(name) for name in ("prompt", "response_model"))


class Cardinality:
    """Gives labels their cells; what values there are is known from the cells alone."""

    def __init__(self, cells: SeriesTable) -> None:
        self._cells = cells
        self._tickets: list[str] = []
        self.learn()

    def learn(self) -> None:
        """Know the values that cells have: some were freed."""
        self._known: dict[tuple[str, int], set[str]] = {}
        self._told: set[tuple[str, int]] = set()
        for cell in self._cells.rows().tolist():
            self._know(self._cells.values(cell))

    def _know(self, labels: tuple[str, ...]) -> None:
        for place in _BOUNDED:
            if labels[place]:
                self._known.setdefault((labels[_AGENT], place), set()).add(labels[place])

    def id_of(self, labels: tuple[str, ...], seen_ns: int) -> int:
        """The cell of some labels, or of those without what has too many values; OVERFLOW where cells are full."""
        if self._cells.find(labels) is None:
            labels = self._kept(labels)
        cell = self._cells.id_of(labels, seen_ns)
        if cell != OVERFLOW:
            self._know(labels)
        return cell

    def _kept(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        kept = list(labels)
        for place in _BOUNDED:
            key = labels[_AGENT], place
            known = self._known.get(key, ())
            if labels[place] and len(known) >= OF_AGENT_MAX and labels[place] not in known:
                kept[place] = ""
                if key not in self._told:
                    self._told.add(key)
                    self._tickets.append(_line(*key))
        return tuple(kept)

    def take(self) -> list[str]:
        """Lines about agents with too many values, each once a day at most."""
        told, self._tickets = self._tickets, []
        return told


def _line(agent: str, place: int) -> str:
    who = f'agent "{clean(agent, VALUE_LENGTH_MAX)}"' if agent else "an agent without a name"
    return (
        f"{who} has more than {OF_AGENT_MAX} values of {CELL_LABELS[place]}: calls with further ones count without it, "
        "and none of these is compared"
    )


def restored(arrays: Arrays, capacity: int) -> SeriesTable:
    """The cells that were saved. Those of a version before had fewer labels: what they lack is empty."""
    cells = SeriesTable.restore(arrays, capacity)
    if len(cells.labels) == CELL_LABELS_BEFORE:
        return cells.widened(CELL_LABELS)
    return cells
