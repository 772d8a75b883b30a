"""Texts as numbers: names of tenants, agents, models, each stored once, found by hash and compared whole."""

from service.ingest.join.rows import HIGH, MASK, enter, row_at, take
from service.ingest.join.tables import (
    WORD_AT,
    WORD_BYTES,
    WORD_CELLS,
    WORD_HASH,
    WORD_SIZE,
    WORDS,
    WORDS_MAX,
    Tables,
    more,
)
from service.ingest.memory import Memory, Number, byte, cell, fingerprint, kernel, put, put_byte, same_text

NO_WORD, OTHER_WORD = 0, 1
"""The empty text; and what stands for all texts that came when there was no room for more."""
TEXT_BYTES = 16 << 20


@kernel
def word_of(t: Tables, memory: Memory, at: Number, size: Number) -> Number:
    """The word of a text, a new one while there is room for it."""
    if size == 0:
        return NO_WORD
    hashed, _ = fingerprint(t.seed, memory, at, size)
    mask = cell(t.heads, WORDS + MASK)
    place = hashed & mask
    while True:
        word = row_at(t.word_index, place)
        if word < 0:
            break
        row = word * WORD_CELLS
        if cell(t.words, row + WORD_HASH) == hashed and cell(t.words, row + WORD_SIZE) == size:  # noqa: SIM102
            if same_text(t.text, cell(t.words, row + WORD_AT), memory, at, size):
                return word
        place = (place + 1) & mask
    used = cell(t.state, WORD_BYTES)
    if cell(t.heads, WORDS + HIGH) >= cell(t.limits, WORDS_MAX) or used + size > TEXT_BYTES:
        return OTHER_WORD
    word = take(t.heads, WORDS, t.words, WORD_CELLS)
    row = word * WORD_CELLS
    put(t.words, row + WORD_HASH, hashed)
    put(t.words, row + WORD_AT, used)
    put(t.words, row + WORD_SIZE, size)
    for i in range(size):
        put_byte(t.text, used + i, byte(memory, at + i))
    more(t.state, WORD_BYTES, size)
    enter(t.word_index, mask, hashed, word)
    return word


@kernel
def ends_like(t: Tables, longer: Number, shorter: Number) -> Number:
    """Whether a word is another one, or that one after a joint, as a server's name before a tool's."""
    if longer == shorter:
        return True
    more_bytes = cell(t.words, longer * WORD_CELLS + WORD_SIZE)
    fewer_bytes = cell(t.words, shorter * WORD_CELLS + WORD_SIZE)
    if more_bytes < fewer_bytes:
        longer, shorter, more_bytes, fewer_bytes = shorter, longer, fewer_bytes, more_bytes
    if shorter == NO_WORD or more_bytes == fewer_bytes:
        return False
    at = cell(t.words, longer * WORD_CELLS + WORD_AT) + more_bytes - fewer_bytes
    joint = byte(t.text, at - 1)
    if joint not in (0x5F, 0x2E, 0x2F, 0x3A, 0x2D):
        return False
    return same_text(t.text, at, t.text, cell(t.words, shorter * WORD_CELLS + WORD_AT), fewer_bytes)
