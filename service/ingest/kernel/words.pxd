# Interned strings: names of tenants, agents and models, each stored once, found by hash and compared whole.
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from service.ingest.kernel.memory cimport enter, fingerprint, next_like, row_t, same_text, take, word_t
from service.ingest.kernel.rows cimport Join, Word
from service.ingest.kernel.wire cimport Text

cdef enum:
    NO_WORD = 0
    OTHER_WORD = 1      # What stands for all texts that came when there was no room for more.


cdef inline word_t word_of(Join* t, Text at, uint64_t size) noexcept nogil:
    """The word of a text, a new one while there is room for it."""
    cdef uint64_t hashed, place
    cdef row_t row
    cdef Word* word
    if size == 0:
        return NO_WORD
    hashed = place = fingerprint(t.seed, at, size).high
    while True:
        row = next_like(&t.word_index, hashed, &place)
        if row < 0:
            break
        word = &t.words[row]
        if word.hashed == hashed and word.size == size and same_text(t.text + word.at, at, size):
            return row
    if t.word_table.high >= t.words_max or t.text_used + size > t.text_room:
        return OTHER_WORD
    row = take(&t.word_table)
    word = &t.words[row]
    word.hashed, word.at, word.size = hashed, t.text_used, size
    memcpy(t.text + t.text_used, at, size)
    t.text_used += size
    enter(&t.word_index, hashed, row)
    return row


cdef inline bint ends_like(Join* t, word_t longer, word_t shorter) noexcept nogil:
    """Whether two words are equal, or one ends with a joint and the other: `server.tool` is the same as `tool`."""
    cdef Text at
    cdef Word* more = &t.words[longer]
    cdef Word* fewer = &t.words[shorter]
    if longer == shorter:
        return True
    if more.size < fewer.size:
        more, fewer = fewer, more
    if fewer.size == 0 or more.size == fewer.size:
        return False
    at = t.text + more.at + more.size - fewer.size
    return (at - 1)[0] in b"_./:-" and same_text(at, t.text + fewer.at, fewer.size)


cdef inline bint spelled_alike(Join* t, word_t one, word_t other) noexcept nogil:
    """Whether two words differ in no more than the case of ASCII letters, spaces, hyphens and underscores."""
    cdef Text at = t.text + t.words[one].at
    cdef Text also = t.text + t.words[other].at
    cdef Text end = at + t.words[one].size
    cdef Text stop = also + t.words[other].size
    if one == other:
        return True
    while True:
        while at < end and at[0] in b" -_":
            at += 1
        while also < stop and also[0] in b" -_":
            also += 1
        if at == end or also == stop:
            return at == end and also == stop
        if _small(at[0]) != _small(also[0]):
            return False
        at += 1
        also += 1


cdef inline int _small(int letter) noexcept nogil:
    """An ASCII letter in lower case, any other byte as it is."""
    return letter + 32 if letter >= 65 and letter <= 90 else letter
