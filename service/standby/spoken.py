"""What people say, as JSON: for whoever leads next to hear it again, with the times at which it was said."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from alertrules import marks, silences
from alertrules.changes import Change
from alertrules.lifecycle import labels_from
from alertrules.marks import Mark
from alertrules.silences import Acknowledgement, End, Silence, Silences
from service.batch import Said


def packed(word: Said) -> dict[str, Any]:
    """The word as JSON knows it.

    >>> unpacked(packed(End("1f0c3a2b")))
    End(silence_id='1f0c3a2b')
    """
    kind = type(word).__name__.lower()
    if isinstance(word, Mark):
        return {"kind": kind, "fields": marks.packed(word)}
    return {"kind": kind, "fields": silences.packed(word) if isinstance(word, Silence) else asdict(word)}


def unpacked(said: Mapping[str, Any]) -> Said:
    """The word that `packed` gave. Raises KeyError, TypeError, ValueError or AttributeError where it is not one."""
    kind, fields = said["kind"], said["fields"]
    if kind == "mark":
        return marks.unpacked(fields)
    if kind == "silence":
        return next(iter(Silences.restore([fields]).all.values()))
    if kind == "end":
        return End(str(fields["silence_id"]))
    if kind == "acknowledgement":
        return Acknowledgement(**{**fields, "targets": tuple(fields["targets"])})
    if kind == "change":
        return Change(**{**fields, "labels": labels_from(fields["labels"])})
    raise ValueError(f"{kind!r:.80} is not a kind of word that this version knows")
