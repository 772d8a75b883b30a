"""The changes: where, what stands there, what would stand there, and what is then wrong."""

from typing import NamedTuple

KERNEL = "service/ingest/kernel"


class Change(NamedTuple):
    """A change of one line, which stands in its file just once."""

    rule: str
    path: str
    before: str
    after: str


CHANGES = (
    Change("of equal ends, the later start is first", f"{KERNEL}/order.pxd",
           "return span.start < other.start", "return span.start > other.start"),
    Change("of equal ends and starts, the lower id is first", f"{KERNEL}/order.pxd",
           "return <int64_t>span.id > <int64_t>other.id", "return <int64_t>span.id < <int64_t>other.id"),
    Change("spans of a slot are counted as they ended", f"{KERNEL}/order.pxd",
           "for shift in range(0, 36, 12):", "for shift in range(0, 24, 12):"),
    Change("equal spans are counted as they came", f"{KERNEL}/order.pxd",
           "not sorts_after(t, &list[left], &list[right])", "sorts_after(t, &list[right], &list[left])"),
    Change("a workflow may stand between two spans of one call", f"{KERNEL}/calls.pxd",
           "elif theirs.operation != OP_OTHER and theirs.operation != OP_WORKFLOW:",
           "elif theirs.operation != OP_OTHER:"),
    Change("below an agent another call begins", f"{KERNEL}/calls.pxd",
           "theirs.operation != OP_OTHER and theirs.operation != OP_WORKFLOW:",
           "theirs.operation != OP_OTHER and theirs.operation != OP_WORKFLOW and theirs.operation != OP_AGENT:"),
    Change("of two outcomes that end together, the higher id's holds", f"{KERNEL}/sessions.pxd",
           "end == trace.outcome_ns and <int64_t>span.id > <int64_t>trace.outcome_id",
           "end == trace.outcome_ns and <int64_t>span.id < <int64_t>trace.outcome_id"),
    Change("of spans that began together, the lower id speaks for the trace", f"{KERNEL}/traces.pxd",
           "return <int64_t>span.id < <int64_t>other.id", "return <int64_t>span.id > <int64_t>other.id"),
    Change("two accounts that both name their answer are of one call only if it is the same", "service/ingest/twins.py",
           "and not (other.response_id and native.response_id)", "and not (other.response_id and 0)"),
    Change("no burst follows a pause", "service/delivery/gate.py",
           "self._tokens = min(self._refilled(now_ns), 1.0)", "self._tokens = self._refilled(now_ns)"),
    Change("a token does not grow during a pause", "service/delivery/gate.py",
           "self._counted_ns = self._shut_until_ns", "self._counted_ns = now_ns"),
    Change("a tool without a name belongs to the call around it", f"{KERNEL}/calls.pxd",
           "return own.tool == 0 or ends_like(t, theirs.tool, own.tool)", "return ends_like(t, theirs.tool, own.tool)"),
    Change("an aggregate is not added to leaves that are known", f"{KERNEL}/calls.pxd",
           "is_.usage = not span.flags & USAGE_BELOW", "is_.usage = True"),
    Change("an answer counts once in a trace", f"{KERNEL}/calls.pxd",
           "if span.response and is_model(own.operation):", "if False:"),
    Change("the tokens of an answer count once", f"{KERNEL}/calls.pxd",
           "is_.usage = is_.usage and not known & ANSWER_SPENT", "is_.usage = is_.usage"),
    Change("a session waits longer for a root", f"{KERNEL}/sessions.pxd",
           "t.rootless_idle if session.rootless > 0 else t.idle", "t.idle"),
    Change("a session is closed when it is due", f"{KERNEL}/sessions.pxd",
           "if due_ns <= end:", "if due_ns < end and False:"),
    Change("a place in the queue goes when it is stale", f"{KERNEL}/sessions.pxd",
           "t.queue.size > 2 * (", "t.queue.size > 2_000 * ("),
    Change("of sessions that are due at once, the key decides which is first", f"{KERNEL}/memory.pxd",
           "(one.at == other.at and one.tie < other.tie)", "(one.at == other.at and False)"),
    Change("a trace that is given up has its session closed", f"{KERNEL}/admit.pxd",
           "    if session >= 0:", "    if False:"),
    Change("a span twice is a duplicate", f"{KERNEL}/admit.pxd",
           "t.traces[trace].ids >> bit_of(decoded.id) & 1", "t.traces[trace].ids >> (bit_of(decoded.id) ^ 1) & 1"),
    Change("the model of an embedding is nobody else's", f"{KERNEL}/traces.pxd",
           "if reading.operation != OP_EMBEDDING:", "if True:"),
    Change("a cache beyond the input was reported apart", f"{KERNEL}/usage.pxd",
           "if is_apart or cached > whole or _adds_up", "if is_apart or _adds_up"),
    Change("waits are saved in the order in which they came", "service/ingest/join/saved.py",
           'saved["waiting"][end - size : end]', 'saved["waiting"][end - size : end][::-1]'),
    Change("a bad row number is not followed", "service/ingest/join/saved.py",
           "or not live[rows].all()", "or False"),
)  # fmt: skip
