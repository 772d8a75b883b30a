"""`tocsin inspect`: what Tocsin reads in files of OTLP bodies, through the same code that reads the stream."""

import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alertrules.outcome_classes import SHIPPED, Outcomes
from detectors.core.columns import Slot
from detectors.core.series import SeriesTable
from service.batch import Dropped, Record, Signal, Tally
from service.ingest.join.closing import Labels
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.otlp.foreign import ADVICE, Foreign
from service.ingest.prices import CostSource, Tokens
from service.ingest.reader import EXAMPLES
from service.ingest.stage import Ingest
from service.ingest.vocabulary import MODEL_OPERATIONS, SESSION_UNIT

# Files come in any order and from any time, so nothing is late or in the future and all is closed at the end.
_FOREVER_NS = 2**62
BODY_BYTES_MAX = 64 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_REJECTED = (Dropped.BAD_ID, Dropped.BAD_TIME, Dropped.FUTURE, Dropped.TOO_LARGE)
_UNREADABLE = (Dropped.MALFORMED, Dropped.TOO_LARGE)
METRIC = "metric"
"""Where the cost comes from that a metric states, or that the tokens of one have."""
_TOKENS = ("input_tokens", "output_tokens", "cache_read", "cache_write", "reasoning")


@dataclass
class Group:
    """What was counted of one agent for one tenant."""

    sessions: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    tokens: list[float] = field(default_factory=lambda: [0.0] * len(_TOKENS))
    dollars: Counter[str] = field(default_factory=Counter)
    unpriced: Counter[str] = field(default_factory=Counter)  # Calls without a price, by model.
    priced: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


class Inspection:
    """A review of everything ingest counts; see `service.ingest.review.Review`."""

    def __init__(self, outcomes: Outcomes = SHIPPED) -> None:
        self._classes = outcomes.names
        self.dialects: Counter[str] = Counter()
        self.models: set[str] = set()
        self.sessions: set[str] = set()
        self.groups: dict[tuple[str, str], Group] = {}

    def spans(self, dialects: Counter[str]) -> None:
        """Count spans by their dialect."""
        self.dialects.update({dialect or "none": spans for dialect, spans in dialects.items()})

    def call(self, labels: Labels, failed: bool, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """Count a call, and what it used."""
        operation, model = labels[2], labels[4]
        group = self.groups.setdefault(labels[:2], Group())
        group.calls[operation] += 1
        if failed:
            group.failed[operation] += 1
        if model and operation in MODEL_OPERATIONS:
            self.models.add(model)
        self.usage(labels, tokens, cost)

    def usage(self, labels: Labels, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """Count tokens and dollars."""
        group = self.groups.setdefault(labels[:2], Group())
        for i, count in enumerate(tokens[: len(_TOKENS)]):
            group.tokens[i] += count
        dollars, source = cost
        if source is CostSource.UNPRICED:
            group.unpriced[labels[4]] += 1
            return
        group.priced += source is not CostSource.NONE
        if dollars:
            group.dollars[source] += dollars  # type: ignore[assignment]

    def session(self, labels: Labels, key: str, outcome: int) -> None:
        """Count a session once, whatever its legs; outcomes are each leg's own."""
        group = self.groups.setdefault(labels[:2], Group())
        group.sessions.add(key)
        self.sessions.add(key)
        if outcome >= 0:
            group.outcomes[self._classes[outcome]] += 1


def inspect_bodies(paths: Iterable[Path], outcomes: Outcomes = SHIPPED) -> dict[str, object]:
    """What the trace bodies in `paths` hold; sessions' outcomes by the classes of `outcomes`."""
    inspection = Inspection(outcomes)
    limits = IngestLimits(lateness_ns=_FOREVER_NS, body_bytes_max=BODY_BYTES_MAX, pending_max=_FOREVER_NS)
    ingest = Ingest(limits, inspection, local=Local(outcomes=outcomes))
    tally = Tally()
    _read(paths, Signal.TRACES, ingest, tally)
    for _ in ingest.flush(tally):
        pass
    rejected = {str(reason): tally.dropped[reason] for reason in _REJECTED if tally.dropped[reason]}
    return {
        "spans": tally.spans,
        "sessions": len(inspection.sessions),
        "rejected": {str(Dropped.MALFORMED): tally.dropped[Dropped.MALFORMED], **rejected},
        "dialects": dict(sorted(inspection.dialects.items())),
        "models": sorted(inspection.models),
        **_odd(tally),
        **_unknown(ingest),
        "groups": [_shown(tenant, agent, group) for (tenant, agent), group in sorted(inspection.groups.items())],
    }


def inspect_points(paths: Iterable[Path], signal: Signal, outcomes: Outcomes = SHIPPED) -> dict[str, object]:
    """What the metric or log bodies in `paths` hold: the known ones as calls, tokens, cost and outcomes, and each by
    its name. Cumulative ones count from their own beginning."""
    limits = IngestLimits(lateness_ns=_FOREVER_NS, body_bytes_max=BODY_BYTES_MAX, pending_max=_FOREVER_NS)
    meters = Meters(lambda metric: True, since_ns=0)
    ingest = Ingest(limits, meters=meters, local=Local(outcomes=outcomes))
    tally = Tally()
    _read(paths, signal, ingest, tally)
    groups: dict[tuple[str, str], Group] = {}
    metrics: dict[str, list[float]] = {}
    for slot in ingest.flush(tally):
        _add_slot(slot, ingest.cells, outcomes, groups, metrics)
    count = tally.logs if signal is Signal.LOGS else tally.points
    dropped = {str(reason): n for reason, n in sorted(tally.dropped.items()) if reason not in _UNREADABLE and n}
    return {
        "signal": str(signal),
        "points" if signal is Signal.METRICS else "records": count,
        "rejected": {str(reason): tally.dropped[reason] for reason in _UNREADABLE},
        "dropped": dropped,
        **_odd(tally),
        **_unknown(ingest),
        "saturated": dict(sorted(tally.saturated.items())),
        "priced_tokens": dict(sorted(tally.priced_tokens.items())),
        **_unpriced_tokens(tally),
        "metrics": {name: {"count": n, "sum": round(total, 12)} for name, (n, total) in sorted(metrics.items())},
        "groups": [_shown(tenant, agent, group) for (tenant, agent), group in sorted(groups.items())],
    }


def _odd(tally: Tally) -> dict[str, object]:
    """Bodies that hold no OTLP of this signal, or spell it otherwise, and what to write instead; if there are any."""
    foreign: Counter[str] = Counter()
    for (_, kind), bodies in sorted(tally.foreign.items()):
        foreign[kind] += bodies
    spelling = {str(Foreign.SNAKE_CASE): tally.snake_case.total()} if tally.snake_case else {}
    advice = [ADVICE[Foreign(kind)] for kind in (*foreign, *spelling)]
    advice += [EXAMPLES[reason] for reason in EXAMPLES if tally.dropped[reason]]
    told = {"foreign": dict(foreign), "spelling": spelling, "advice": advice}
    return {name: found for name, found in told.items() if found}


def _unknown(ingest: Ingest) -> dict[str, object]:
    """Words that no table knows, by what kind of word they are and how often they came; nothing if there are none."""
    words: dict[str, Counter[str]] = {}
    for (kind, _, word, _), heard in ingest.words.heard.items():
        words.setdefault(kind, Counter())[word] += round(heard.count)
    return {"unknown": {kind: dict(sorted(found.items())) for kind, found in sorted(words.items())}} if words else {}


def _read(paths: Iterable[Path], signal: Signal, ingest: Ingest, tally: Tally) -> None:
    for path in paths:
        raw = read_body(path)
        if raw is None:
            tally.dropped[Dropped.TOO_LARGE] += 1
        for body in bodies_of(raw) if raw is not None else ():
            ingest.read(Record(signal, body, "files"), _FOREVER_NS, tally)


def _add_slot(
    slot: Slot, cells: SeriesTable, outcomes: Outcomes, groups: dict[tuple[str, str], Group],
    metrics: dict[str, list[float]],
) -> None:  # fmt: skip
    """Add what a slot's cells counted: a metric under its name, the rest to its agent."""
    for i, cell in enumerate(slot.cell.tolist()):
        tenant, agent, operation, *_, metric = cells.values(cell)
        if metric:
            sums = metrics.setdefault(metric, [0.0, 0.0])
            sums[0] += float(slot.count[i])
            sums[1] += float(slot.amount[i])
            continue
        group = groups.setdefault((tenant, agent), Group())
        if slot.count[i] and operation != SESSION_UNIT:
            group.calls[operation] += round(slot.count[i])
            group.failed[operation] += round(slot.failed[i])
        group.tokens[0] += float(slot.input_tokens[i])
        group.tokens[1] += float(slot.output_tokens[i])
        group.dollars[METRIC] += float(slot.cost_usd[i])  # type: ignore[assignment]
        mine = slot.outcome.cell == cell
        for place, n in zip(slot.outcome.bucket[mine].tolist(), slot.outcome.count[mine].tolist(), strict=True):
            group.outcomes[outcomes.names[place]] += round(n)


def _shown(tenant: str, agent: str, group: Group) -> dict[str, object]:
    return {
        "tenant": tenant,
        "agent": agent,
        "sessions": len(group.sessions),
        "calls": dict(sorted(group.calls.items())),
        "failed": dict(sorted(group.failed.items())),
        **{name: round(count) for name, count in zip(_TOKENS, group.tokens, strict=True)},
        "cost_usd": round(sum(group.dollars.values()), 12),
        "cost_source": {str(source): round(dollars, 12) for source, dollars in sorted(group.dollars.items())},
        "unpriced_calls": group.unpriced.total(),
        **_unpriced(group),
        "outcomes": dict(sorted(group.outcomes.items())),
    }


def _unpriced_tokens(tally: Tally) -> dict[str, object]:
    """The share of the tokens whose cost nobody states that have no price; nothing where all have."""
    unpriced = tally.priced_tokens[CostSource.UNPRICED]
    return {"unpriced_share": round(unpriced / tally.priced_tokens.total(), 6)} if unpriced else {}


def _unpriced(group: Group) -> dict[str, object]:
    """The share of its calls with tokens that no price is known of, and their models; nothing where there are none."""
    calls = group.unpriced.total()
    if not calls:
        return {}
    return {"unpriced_share": round(calls / (calls + group.priced), 6), "unpriced_models": dict(group.unpriced)}


def read_body(path: Path) -> bytes | None:
    """A file's body, unpacked if it is gzip; None if that is larger than is ever read."""
    with path.open("rb") as file:
        packed = file.read(BODY_BYTES_MAX + 1)
    if len(packed) > BODY_BYTES_MAX:
        return None
    if not packed.startswith(_GZIP_MAGIC):
        return packed
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(packed, BODY_BYTES_MAX + 1)
    except zlib.error:
        return packed  # Not gzip after all: let the reader say what is wrong with it.
    return None if len(body) > BODY_BYTES_MAX else body


def bodies_of(raw: bytes) -> list[bytes]:
    """The bodies of a file: each line, if all are objects of JSON, as the Collector's file exporter writes them."""
    lines = [line.strip() for line in raw.splitlines()] if raw[:1] == b"{" else []
    lines = [line for line in lines if line]
    is_lines = len(lines) > 1 and all(line.startswith(b'{"') and line.endswith(b"}") for line in lines)
    return lines if is_lines else [raw]


def render(found: dict[str, object]) -> str:
    """The same for people: totals, then a line a group."""
    lines = [f"{name}: {_worded(value)}" for name, value in found.items() if name != "groups"]
    groups = found.get("groups")
    if isinstance(groups, list) and groups:
        columns = ("tenant", "agent", "sessions", "calls", "failed", *_TOKENS[:2], "cost_usd", "outcomes")
        rows = [columns, *(tuple(_cell(group, name) for name in columns) for group in groups)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        lines.append("")
        for row in rows:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(lines)


def _cell(group: Mapping[str, object], name: str) -> str:
    """A cell of the table: what the calls cost is said with the share of those that it leaves out."""
    share = group.get("unpriced_share")
    said = f" (unpriced {100 * share:.3g}%)" if name == "cost_usd" and isinstance(share, float) else ""
    return f"{_worded(group[name])}{said}"


def _worded(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_worded(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value != "" else "-"


def bodies_in(paths: Iterable[str], signal: Signal) -> list[Path]:
    """The files named, and in the directories named those of a signal (`traces-001.binpb`, `traces-001.otlp.json`)."""
    files: list[Path] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            ends = (".binpb", ".otlp.json", ".binpb.gz", ".otlp.json.gz")
            files += sorted(each for each in path.glob(f"{signal}*") if each.name.endswith(ends))
        else:
            files.append(path)
    return files


def main(paths: list[str], as_json: bool, signal: str, outcomes: Outcomes = SHIPPED) -> int:
    """Inspect files or directories and print what was found. 0 yes, 1 nothing could be read, 2 wrong use."""
    try:
        wanted = Signal(signal)
        files = bodies_in(paths, wanted)
        is_traces = wanted is Signal.TRACES
        found = inspect_bodies(files, outcomes) if is_traces else inspect_points(files, wanted, outcomes)
    except (ValueError, OSError) as error:
        print(f"tocsin inspect: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found) if as_json else render(found))
    rejected = found["rejected"]
    assert isinstance(rejected, dict)
    foreign = found.get("foreign", {})
    assert isinstance(foreign, dict)
    unread = sum(rejected.values()) + sum(foreign.values())
    is_empty = not any(found.get(count) for count in ("spans", "points", "records"))
    return 1 if not files or (unread and is_empty) else 0
