"""What a failure is: an error, but not an exception that a framework raises to pause, hand over or stop.

Only the type of an exception is read, never its message. Where it stands does not matter: in `error.type`, in an
exception event, or as the first word of the status message, as OpenTelemetry's SDK for Python writes it.
"""

import re
from collections.abc import Collection, Iterable

CONTROL_FLOW_SOURCES = {
    # LangGraph, errors.py: interrupts, a command to the graph around, and the base of both; its queue that was drained.
    "langgraph": ("GraphBubbleUp", "GraphInterrupt", "NodeInterrupt", "ParentCommand", "GraphDelegate", "GraphDrained"),
    # Pydantic AI, exceptions.py: tools that wait for a person or for a result from elsewhere; steps that a hook skips.
    "pydantic_ai": (
        "ApprovalRequired", "CallDeferred", "SkipModelRequest", "SkipToolExecution", "SkipToolValidation",
    ),
    # CrewAI, flow/async_feedback/types.py.
    "crewai": ("HumanFeedbackPending",),
    # LlamaIndex's workflows: a step that waits for an event, such as a person's answer; a run that its user stopped.
    "llama_index": ("WaitingForEvent", "WorkflowCancelledByUser"),
    # Agno, exceptions.py.
    "agno": ("StopAgentRun", "RunCancelledException"),
    # Microsoft's Agent Framework, _middleware.py; Semantic Kernel, exceptions of cancelled functions.
    "microsoft": ("MiddlewareTermination", "KernelFunctionCanceledException", "OperationCancelledException"),
    # Strands Agents, types/interrupt.py; Haystack, core/errors.py, a pipeline that pauses at a breakpoint.
    "strands": ("InterruptException",),
    "haystack": ("BreakpointException",),
    # Durable execution: Vercel's workflows, Restate, Temporal, Prefect, DBOS.
    "durable": (
        "WorkflowSuspension", "SuspendedError", "SuspendedException", "ContinueAsNew", "ContinueAsNewError",
        "CancelledFailure", "CanceledFailure", "CanceledError", "CancelledRun", "TerminatedRun", "PausedRun",
        "DBOSWorkflowCancelledError",
    ),
    # Somebody called it off, or who read the stream went away: Python, JavaScript, .NET, the JVM, Go, gRPC, HTTP.
    "python": (
        "CancelledError", "Cancelled", "Canceled", "GeneratorExit", "StopIteration", "StopAsyncIteration",
        "KeyboardInterrupt", "ClientDisconnect", "RequestAborted",
    ),
    "javascript": (
        "AbortError", "AbortException", "AI_AbortError", "APIUserAbortError", "RequestAbortedError", "ResponseAborted",
        "CancelError", "CancellationError", "ERR_CANCELED", "ABORT_ERR",
    ),
    "dotnet": ("OperationCanceledException", "TaskCanceledException"),
    "jvm": ("CancellationException", "JobCancellationException", "InterruptedException"),
    "http": ("499", "client_disconnected", "request_cancelled", "request_canceled", "aborted", "abort"),
}  # fmt: skip
"""Types of exception that are no failure, by who raises them. Names are compared without their module, in any case."""
CONTROL_FLOW = frozenset(name.lower() for names in CONTROL_FLOW_SOURCES.values() for name in names)
WORDS = (
    "context canceled", "context cancelled", "rpc error: code = Canceled desc = context canceled",
    "A task was canceled.", "The operation was canceled.", "The operation was cancelled.",
    "This operation was aborted", "The operation was aborted", "The operation was aborted.", "Request was aborted.",
    "The user aborted a request.", "Request aborted", "Operation cancelled by user", "Generator exited",
)  # fmt: skip
"""Messages of a status that name no type, and say the same; they are compared whole."""
UNSPECIFIC = frozenset(("", "_other", "error", "exception", "unknown", "failed", "500", "*errors.errorstring"))
"""Types that tell nothing, so that what else is told counts."""
_JOINT = re.compile(r"[./:\\+$#]+")
NAME_MAX, NAMES_MAX = 100, 1_000


def bare(kind: str) -> str:
    """A type's name without its module, its type parameters and its quotes, in lower case.

    >>> bare("System.Threading.Tasks.TaskCanceledException"), bare("<class 'asyncio.exceptions.CancelledError'>")
    ('taskcanceledexception', 'cancellederror')
    """
    return short(kind).lower()


def short(kind: str) -> str:
    """The same in the case in which it is written."""
    text = kind.strip().removeprefix("<class '").removesuffix("'>")
    return _JOINT.split(re.split(r"[`<\[(]", text, maxsplit=1)[0].rstrip("./:\\+$#"))[-1].strip("*&")


def is_control_flow(kind: str, own: Collection[str] = ()) -> bool:
    """Whether a type of error is no failure. `own` has the operator's names, as `bare` makes them."""
    name = bare(kind)
    return name in CONTROL_FLOW or name in own or kind in WORDS


def judged(error: str, others: Iterable[str], own: Collection[str]) -> str | None:
    """The type of error that a span failed with, as it was told; None where it was control flow.

    `error` is what `error.type` says, `others` are the types of events and of the status; all may be empty.

    >>> judged("ValueError", ["GraphInterrupt"], ()), judged("_OTHER", ["GraphInterrupt"], ())
    ('ValueError', None)
    """
    told = [kind for kind in (error, *others) if kind]
    first = next((kind for kind in told if bare(kind) not in UNSPECIFIC), "")
    if first and is_control_flow(first, own):
        return None
    return first or (told[0] if told else "")


def names(text: object) -> object:
    """Names of exceptions between commas or blanks, as `bare` makes them. Raises ValueError.

    >>> names("myapp.errors.NeedsHuman, Paused")
    ('needshuman', 'paused')
    """
    if not isinstance(text, str):
        return text
    found = tuple(bare(name) for name in re.split(r"[,\s]+", text) if name)
    if len(found) > NAMES_MAX or any(not name or len(name) > NAME_MAX for name in found):
        raise ValueError(f"expected at most {NAMES_MAX} names of exceptions, each at most {NAME_MAX} letters")
    return found
