"""The saved state, taken up at a start: what is gone on from, what learns anew, and what of it cannot be read."""

import logging
from collections.abc import Mapping

from alertrules.parse import RuleSet
from service.pipeline.pipeline import Pipeline, State
from service.pipeline.saved_parts import Unread
from service.reports import learning
from service.store.directory import StoreError
from service.store.sqlite import Store

log = logging.getLogger("tocsin")


def take_up(
    store: Store, pipeline: Pipeline, rules: RuleSet, now_ns: int
) -> tuple[Mapping[str, int], tuple[Unread, ...]]:
    """Restore the pipeline. Returns (offsets, the parts that a newer version wrote). Raises StoreError."""
    saved = store.load()
    if saved is None:
        log.info("no state in %s: starting afresh", store.directory)
        return {}, store.unread
    try:
        anew = pipeline.restore(State(saved.arrays, saved.alerts))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise StoreError(
            f"the state in {store.directory} is not this version's ({type(error).__name__}: {error}); "
            "use the version that wrote it, or move the directory away to start afresh"
        ) from error
    lost = (*store.unread, *pipeline.unread.values())
    for part in lost:
        log.error("the state was written by a newer version, and a part of it cannot be read: %s", part)
    if anew:
        log.info("new, or asks something else now: %s", learning.anew(rules.rules, anew, now_ns))
    return dict(saved.offsets), lost
