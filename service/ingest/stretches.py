"""What traces went through in one slot, for who joins the sessions of several partitions: sums, not spans."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.ingest.kernel.joining import STRETCH
from service.ingest.kernel.results import Structs

WORDS = ("tenant", "agent", "open_tenant", "open_agent", "tool", "version", "model")
"""Fields that are places in the texts."""


@dataclass(frozen=True, eq=False)
class Stretches:
    """Traces by what they went through in a slot, and some that are over.

    rows   (n,) structs, as `kernel/stretch.pxd` has them; an outcome is a class
    texts  those of the words of the rows
    """

    rows: Structs
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: slice | NDArray[np.int64]) -> "Stretches":
        """Some of them."""
        return Stretches(self.rows[rows], self.texts)


NO_STRETCHES = Stretches(np.empty(0, STRETCH), ())


def of_rows(rows: Structs, texts: list[str]) -> Stretches:
    """The stretches that the kernel told, a copy that is changed. `texts` are those of all words."""
    if not len(rows):
        return NO_STRETCHES
    words, places = np.unique(np.stack([rows[name] for name in WORDS]), return_inverse=True)
    for name, mine in zip(WORDS, places.reshape(len(WORDS), -1), strict=True):
        rows[name] = mine
    return Stretches(rows, tuple(texts[word] for word in words.tolist()))


def together(parts: list[Stretches]) -> Stretches:
    """All of several, in the order in which sessions take them: by their first ends."""
    texts: dict[str, int] = {}
    all_rows = []
    for part in parts:
        places = np.array([texts.setdefault(text, len(texts)) for text in part.texts], np.uint32)
        rows = part.rows.copy()
        for name in WORDS:
            rows[name] = places[rows[name]]
        all_rows.append(rows)
    if not all_rows:
        return NO_STRETCHES
    rows = np.concatenate(all_rows)
    # Which of those that end together is first makes no session another one, but it must not depend on who reported.
    order = np.lexsort((rows["trace_low"], rows["trace_high"], rows["last"], rows["ended"]))
    return Stretches(rows[order], tuple(texts))
