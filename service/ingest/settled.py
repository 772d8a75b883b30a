"""What can be said of a span's end and of its cost once all of its fields are known."""

from collections.abc import Collection, Mapping

from detectors.core.columns import ENDINGS
from service.ingest.failures import judged
from service.ingest.local import Local
from service.ingest.prices import BATCH_TIER
from service.ingest.reasons import error_class, reason_class, verdict_class
from service.ingest.vocabulary import (
    BATCH,
    CURRENCY,
    EMBEDDING,
    ERROR_TYPE,
    EXCEPTION_TYPE,
    FINISH,
    GUARDRAIL,
    LLM,
    OUTPUT,
    PASSED,
    RETRIEVAL,
    STATUS_WORD,
    TIER,
    TOOL,
    VERDICT,
    Reading,
    label,
)

_ERROR, _CANCELLED = ENDINGS.index("error"), ENDINGS.index("cancelled")
_YES = frozenset(("true", "1", "yes"))
_ORDINARY = frozenset(
    ("", "auto", "default", "standard", "standard_only", "on_demand", "ondemand", "none", "null", "normal", "regular",
     "pay-as-you-go", "unspecified")
)  # fmt: skip
"""Tiers that cost what the list says of calls in none."""
_RAISING = frozenset((LLM, EMBEDDING, TOOL, RETRIEVAL))


def settle_end(reading: Reading, types: Mapping[str, str], no_failures: Collection[str]) -> None:
    """Whether a span failed, by the types of error that it tells.

    An exception that only an event tells may be that of a first try: a model's answer shows that it was.
    """
    _end(reading)
    own, raised = reading.own, types.get(EXCEPTION_TYPE, "")
    told = str(own.pop(ERROR_TYPE, ""))
    error = judged(told, (raised, types.get(STATUS_WORD, "")), no_failures)
    if error is None or reading.is_excused:
        reading.is_excused, reading.failed = True, False
        reading.ending = _CANCELLED
        return
    reading.error = label(error)
    reading.error_class = error_class(error) if error else -1
    reading.failed = reading.failed or told != ""
    reading.has_raised = raised != "" and (reading.operation in _RAISING and OUTPUT not in own)


def _end(reading: Reading) -> None:
    """What a call ended with, as it says itself."""
    own = reading.own
    if FINISH in own:
        reading.ending = reason_class(str(own.pop(FINISH)))
        reading.failed = reading.failed or reading.ending == _ERROR
        reading.is_excused = reading.is_excused or reading.ending == _CANCELLED
    passed, verdict = own.pop(PASSED, None), own.pop(VERDICT, None)
    if reading.operation == GUARDRAIL and (verdict is not None or passed is not None):
        said = str(passed if verdict is None else verdict)
        reading.ending = verdict_class(said, means_passed=verdict is None)


def settle_cost(reading: Reading, local: Local) -> None:
    """The tier that a call was served in, and what its cost is told in."""
    own = reading.own
    if str(own.pop(BATCH, "")).lower() in _YES:
        own[TIER] = BATCH_TIER
    if TIER in own:
        tier = str(own.pop(TIER)).lower().replace(" ", "_")
        tier = tier.removeprefix("service_tier_").removeprefix("on_demand_")
        if tier not in _ORDINARY:
            own[TIER] = label(tier)
    if CURRENCY in own:
        reading.rate = local.rate(str(own.pop(CURRENCY)))
