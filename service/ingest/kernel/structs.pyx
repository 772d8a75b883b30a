"""Rows of the tables as arrays of structs, by field name."""

from service.ingest.kernel.rows cimport *
from service.ingest.kernel.stretch cimport Stretch

import numpy as np


cdef dict _types():
    """What numpy calls each struct. Cython works it out from the struct's own fields."""
    cdef Span span
    cdef Wait wait
    cdef Trace trace
    cdef Session session
    cdef EndedSession ended
    cdef Slot slot
    cdef Labels labels
    cdef Word word
    cdef DecodedSpan decoded
    cdef Reading reading
    cdef State state
    cdef Order order
    cdef Running running
    cdef Stretch stretch
    found = {
        "spans": <Span[:1]>&span, "waits": <Wait[:1]>&wait, "traces": <Trace[:1]>&trace,
        "sessions": <Session[:1]>&session, "ended": <EndedSession[:1]>&ended, "slots": <Slot[:1]>&slot,
        "labels": <Labels[:1]>&labels, "words": <Word[:1]>&word, "decoded": <DecodedSpan[:1]>&decoded,
        "readings": <Reading[:1]>&reading, "state": <State[:1]>&state, "order": <Order[:1]>&order,
        "running": <Running[:1]>&running, "stretches": <Stretch[:1]>&stretch}
    return {name: np.asarray(one).dtype for name, one in found.items()}


TYPES = _types()


cdef object structs(void* rows, Py_ssize_t n, str name):
    """Rows as an array of structs."""
    return np.ndarray((n,), TYPES[name], <unsigned char[:n * TYPES[name].itemsize + 1]>rows)
