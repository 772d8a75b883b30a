"""The legs of sessions that closed: what each went through, as numbers and labels. Nothing of what was said is in them.

A session falls silent and goes on, maybe after an hour. What lies between two silences is a leg of it, and counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alertrules.outcome_classes import SHIPPED, Outcomes
from service.ingest.kernel.results import Structs
from service.ingest.kernel.structs import TYPES

WENT = (
    "model_calls", "failed_model_calls", "truncated_answers", "tool_calls", "failed_tool_calls", "repeated_tool_calls",
    "retrievals", "empty_retrievals", "guardrail_blocks",
)  # fmt: skip
"""What is counted of a leg, in the order of the kernel's `went`. A count stays at 65,535."""


class Texts(NamedTuple):
    """Labels of a leg: those of the root of its first trace. `outcome` is a class, empty where none was stated."""

    tenant: str
    agent: str
    version: str
    model: str
    outcome: str


@dataclass(frozen=True, eq=False)
class Legs:
    """Legs by column, in the order in which they closed.

    key       (n,) void of 16 bytes: stands for the session. It is the hash of its name under the secret of the state;
              of a session that nothing names, the id of its trace
    trace     (n,) void of 16 bytes: the id of its first trace
    named     (n,) bool: whether something names the session
    first_ns  (n,) int64: when its first span began; last_ns, when its last one ended
    traces    (n,) int64: how many traces it has, which are turns where each turn is a trace
    went      (n, 9) int64: see WENT
    lowest    (n,) float64: the lowest best score of its retrievals, NaN where none told one
    tokens    (n, 2) float64: input and output
    dollars   (n,) float64: what its calls cost, NaN where the price of one of them is not known
    failed    (n,) bool: whether its root failed
    weight    (n,) float64: sessions that it stands for, as sampling has it
    texts     n labels
    """

    key: NDArray[np.void]
    trace: NDArray[np.void]
    named: NDArray[np.bool_]
    first_ns: NDArray[np.int64]
    last_ns: NDArray[np.int64]
    traces: NDArray[np.int64]
    went: NDArray[np.int64]
    lowest: NDArray[np.float64]
    tokens: NDArray[np.float64]
    dollars: NDArray[np.float64]
    failed: NDArray[np.bool_]
    weight: NDArray[np.float64]
    texts: list[Texts]

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: slice | NDArray[np.int64]) -> "Legs":
        """Some of them."""
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "texts"}
        texts = self.texts[rows] if isinstance(rows, slice) else [self.texts[row] for row in rows.tolist()]
        return Legs(**columns, texts=texts)


def legs(ended: Structs, words: list[str], outcomes: Outcomes) -> Legs:
    """The legs of sessions that the kernel closed. `words` are the texts of all words.

    Of a leg that a version before closed the times are not known: it is left out. So is one of which not all was told,
    whose lowest score is NaN then.
    """
    ended = ended[(ended["last"] > 0) & ~np.isnan(ended["lowest"])]
    dollars = np.where(ended["unpriced"] > 0, np.nan, ended["dollars"])
    lowest = ended["lowest"].astype(np.float64)
    names = [*outcomes.names, ""]
    places = np.minimum(ended["outcome"].astype(np.int64), outcomes.unmapped)  # -1 is the last of the names: none.
    columns = (ended[name].tolist() for name in ("tenant", "agent", "version", "model"))
    return Legs(
        key=_ids(ended["high"], ended["low"]),
        trace=_ids(ended["trace_high"], ended["trace_low"]),
        named=ended["is_trace"] == 0,
        first_ns=ended["first"].astype(np.int64),
        last_ns=ended["last"].astype(np.int64),
        traces=ended["traces"].astype(np.int64),
        went=ended["went"].astype(np.int64),
        lowest=np.where(lowest > 0, lowest, np.nan),
        tokens=np.stack([ended["tokens_in"], ended["tokens_out"]], 1).astype(np.float64),
        dollars=dollars.astype(np.float64),
        failed=ended["failed"] > 0,
        weight=ended["weight"].astype(np.float64),
        texts=[
            Texts(words[tenant], words[agent], words[version], words[model], names[place])
            for tenant, agent, version, model, place in zip(*columns, places.tolist(), strict=True)
        ],
    )


def legs_of(parts: Sequence[Legs]) -> Legs:
    """All of several, in this order. There must be one at least."""
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Legs)}
    texts = [each for part in columns.pop("texts") for each in part]
    return Legs(**{name: np.concatenate(column) for name, column in columns.items()}, texts=texts)


def _ids(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.void]:
    """Two halves as the bytes that they were read from."""
    made: NDArray[np.void] = np.stack([high, low], 1).astype("<u8").view("V16")[:, 0]
    return made


def key_bytes(halves: tuple[int, int]) -> bytes:
    """What stands for a session, as `Legs.key` has it."""
    return b"".join(half.to_bytes(8, "little") for half in halves)


NO_LEGS = legs(np.empty(0, TYPES["ended"]), [], SHIPPED)
