"""Sessions that run, and how long those that ended were, by the cell of their first call."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import NOTHING, Entries, Ids
from detectors.core.runs import FIRST_BUCKET, MEASURES, NONE_RUNS, PLACES, Running, longest, worst
from detectors.core.series import OVERFLOW
from service.ingest.kernel.results import Structs
from service.ingest.rollup import buckets

CellOf = Callable[[tuple[str, str]], int]
"""The cell of the sessions of a tenant and an agent, of which there are so many."""
CALLS = [0, 3, 6]
"""Places in `legs.WENT`: calls of models, calls of tools, retrievals."""


def running(rows: Structs, texts: list[str], cell_of: CellOf) -> Running:
    """The longest of the open sessions that the kernel listed. `texts` are those of all words."""
    if not len(rows):
        return NONE_RUNS
    cell = _cells(rows["tenant"], rows["agent"], texts, cell_of)
    seconds = (rows["last"] - rows["first"]) / 1e9
    values = np.stack(
        [rows["repeats"] + 1.0, rows["calls"], rows["tokens"], rows["dollars"], seconds], 1, dtype=np.float64
    )
    # Not for want of a cell, nor with sums that are no numbers.
    kept = np.flatnonzero((cell != OVERFLOW) & np.isfinite(values).all(1) & (values >= 0).all(1))
    kept = kept[longest(cell[kept], values[kept])]
    rows = rows[kept]
    first, trace = (np.stack([rows[f"{of}high"], rows[f"{of}low"]], 1) for of in ("", "trace_"))
    return worst(Running(cell[kept], first, trace, values[kept], tuple(texts[word] for word in rows["tool"].tolist())))


def lengths(ended: Structs, texts: list[str], cell_of: CellOf) -> Entries:
    """How long the sessions that ended were: see `detectors.core.runs`. Each that was seen counts once."""
    ended = ended[ended["last"] > 0]  # A version before did not know when the others were.
    if not len(ended):
        return NOTHING
    cell = _cells(ended["open_tenant"], ended["open_agent"], texts, cell_of)
    tokens = ended["tokens_in"].astype(np.float64) + ended["tokens_out"]
    told = (ended["repeats"] + 1.0, ended["went"][:, CALLS].sum(1), tokens, ended["dollars"], ended["seconds"])
    places = [
        measure * PLACES + (buckets(np.nan_to_num(values.astype(np.float64))) - FIRST_BUCKET)
        for measure, values in enumerate(told)
    ]
    kept = cell != OVERFLOW
    key = np.concatenate([cell[kept].astype(np.int64) * (len(MEASURES) * PLACES) + place[kept] for place in places])
    if not len(key):
        return NOTHING
    found, count = np.unique(key, return_counts=True)
    cells, bucket = np.divmod(found, len(MEASURES) * PLACES)
    return Entries(cells.astype(np.int32), bucket.astype(np.int32), count.astype(np.float64))


def _cells(tenants: NDArray[np.uint32], agents: NDArray[np.uint32], texts: list[str], cell_of: CellOf) -> Ids:
    pairs = tenants.astype(np.int64) << 32 | agents
    each, place = np.unique(pairs, return_inverse=True)
    named = [(texts[pair >> 32], texts[pair & 0xFFFFFFFF]) for pair in each.tolist()]
    # Cells are numbered in the order of names: the numbers of words depend on what else was read.
    found = {names: cell_of(names) for names in sorted(named)}
    ids = np.array([found[names] for names in named], np.int32)
    return ids[place]
