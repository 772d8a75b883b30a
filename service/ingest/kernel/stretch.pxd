# What one trace went through in one slot, as it is told to whoever joins the sessions of several partitions.
from libc.stdint cimport int64_t, uint64_t

from service.ingest.kernel.memory cimport row_t, small_t, weight_t, word_t

cdef enum:
    # Flags of a stretch.
    S_ROOTED = 1        # The trace's root ended by then, or a top stands for it.
    S_FAILED = 2        # That one failed.
    S_CALLS = 4         # Something of it was counted in the slot.
    S_OVER = 8          # No span is of it: it tells by S_ROOTED that no root need be waited for, or an outcome.
    S_PART = 16         # Not all is told that a leg is made of.
    # What is to be told of a trace.
    N_TOUCHED = 1       # It is on the list of the slot that closes,
    N_CALLS = 2         # and something of it was counted.


cdef struct Stretch:
    uint64_t trace_high, trace_low
    uint64_t session        # Half of what stands for its name: of ten million open ones no two share it by chance.
    int64_t first           # The earliest begin of the spans,
    int64_t ended, last     # and the first and the last of their ends; of one that is over, when that was known.
    int64_t outcome_ns
    double dollars
    word_t tenant, agent, version, model    # Of the root of the trace, or of what stands for it;
    word_t open_tenant, open_agent      # and whose the first call of its session was on this partition.
    word_t tool             # The tool that was called most often with the same arguments; 0 for none.
    row_t unpriced, free
    row_t outcome           # A class, -1 if none was stated.
    word_t flags
    weight_t weight, tokens_in, tokens_out
    weight_t lowest         # The lowest best score of its retrievals, 0.0 where none told one.
    small_t[9] went         # See WENT_CALLS.
    small_t repeats         # How often that tool was. The size of a row is that of its fields: numpy knows no padding.


cdef struct Touched:        # A trace of which spans of the closing slot were counted, and the first of their ends.
    int64_t end
    row_t trace
