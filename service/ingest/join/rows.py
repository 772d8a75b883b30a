"""Tables of rows that kernels take and give back, and the hash indexes that find them.

A table is int64 cells, so many a row; the first says whether the row is in use. What a cell points to is a row's
number, -1 for none. An index is cells that hold 31 bits of a hash, and a row's number plus one; 0 where one is free.
"""

from service.ingest.memory import Memory, Number, cell, kernel, put, soon

LINK = 0
"""The first cell of every row: USED, or, of a free row, the one that is taken NEAR rows after it."""
USED = -2
NONE = -1

NEAR = 4
"""Free rows that are known by their numbers, so that they are brought near some time before they are taken."""
FREE, HIGH, COUNT, MASK = 0, NEAR, NEAR + 1, NEAR + 2
"""Of a table's head: the NEAR first free rows; rows ever used; rows in use; places of its index, less one."""
HEAD_CELLS = NEAR + 3
_HASH, _ROW = 2**31 - 1, 2**32 - 1


@kernel
def soon_row(rows: Memory, row: Number, width: Number) -> None:
    """Wish for a row: for each line of memory that it may lie in."""
    for at in range(0, width, 8):
        soon(rows, row * width + at)
    soon(rows, row * width + width - 1)


@kernel
def take(heads: Memory, head: Number, rows: Memory, width: Number) -> Number:
    """A row for use. There is room: whoever calls kernels has seen to it."""
    row = cell(heads, head + FREE)
    if row >= 0:
        for i in range(NEAR - 1):
            put(heads, head + FREE + i, cell(heads, head + FREE + i + 1))
        following = cell(rows, row * width + LINK)
        put(heads, head + FREE + NEAR - 1, following)
        soon_row(rows, following, width)  # It was given back long ago, and will be taken soon.
    else:
        row = cell(heads, head + HIGH)
        put(heads, head + HIGH, row + 1)
    put(rows, row * width + LINK, USED)
    put(heads, head + COUNT, cell(heads, head + COUNT) + 1)
    return row


@kernel
def give_back(heads: Memory, head: Number, rows: Memory, width: Number, row: Number) -> None:
    """A row that is no longer used."""
    put(rows, row * width + LINK, cell(heads, head + FREE + NEAR - 1))
    for i in range(NEAR - 1, 0, -1):
        put(heads, head + FREE + i, cell(heads, head + FREE + i - 1))
    put(heads, head + FREE, row)
    put(heads, head + COUNT, cell(heads, head + COUNT) - 1)


@kernel
def row_at(index: Memory, place: Number) -> Number:
    """The row at a place of an index, -1 if it is free."""
    return (cell(index, place) & _ROW) - 1


@kernel
def is_like(index: Memory, place: Number, hashed: Number) -> Number:
    """Whether the row at a place was entered under such a hash."""
    return cell(index, place) >> 32 == hashed & _HASH


@kernel
def find(
    index: Memory, mask: Number, hashed: Number, rows: Memory, width: Number, column: Number, value: Number,
    other_column: Number, other: Number,
) -> Number:  # fmt: skip
    """The row that was entered under a hash and has these two cells, -1 if there is none."""
    place = hashed & mask
    while True:
        row = row_at(index, place)
        if row < 0:
            return NONE
        if is_like(index, place, hashed):
            at = row * width
            if cell(rows, at + column) == value and cell(rows, at + other_column) == other:
                return row
        place = (place + 1) & mask


@kernel
def enter(index: Memory, mask: Number, hashed: Number, row: Number) -> None:
    """Have a row found under a hash."""
    place = hashed & mask
    while cell(index, place) != 0:
        place = (place + 1) & mask
    put(index, place, (hashed & _HASH) << 32 | (row + 1))


@kernel
def leave(index: Memory, mask: Number, hashed: Number, row: Number) -> None:
    """Have a row that was entered under a hash not found any more; those that gave way to it move up."""
    place, entry = hashed & mask, (hashed & _HASH) << 32 | (row + 1)
    while cell(index, place) != entry:
        place = (place + 1) & mask
    hole = place
    while True:
        place = (place + 1) & mask
        entry = cell(index, place)
        if entry == 0:
            break
        home = (entry >> 32) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            put(index, hole, entry)
            hole = place
    put(index, hole, 0)


@kernel
def enter_all(old: Memory, places: Number, index: Memory, mask: Number) -> None:
    """Fill an empty index with what another one holds."""
    for place in range(places):
        entry = cell(old, place)
        if entry != 0:
            enter(index, mask, entry >> 32, (entry & _ROW) - 1)


@kernel
def push(heap: Memory, size: Number, key: Number, row: Number) -> None:
    """Put a row and its key into a heap of `size` pairs, whose least key is first."""
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if cell(heap, 2 * above) <= key:
            break
        put(heap, 2 * at, cell(heap, 2 * above))
        put(heap, 2 * at + 1, cell(heap, 2 * above + 1))
        at = above
    put(heap, 2 * at, key)
    put(heap, 2 * at + 1, row)


@kernel
def pop(heap: Memory, size: Number) -> None:
    """Take the first pair off a heap of `size` pairs."""
    size -= 1
    key, row, at = cell(heap, 2 * size), cell(heap, 2 * size + 1), 0
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and cell(heap, 2 * below + 2) < cell(heap, 2 * below):
            below += 1
        if cell(heap, 2 * below) >= key:
            break
        put(heap, 2 * at, cell(heap, 2 * below))
        put(heap, 2 * at + 1, cell(heap, 2 * below + 1))
        at = below
    put(heap, 2 * at, key)
    put(heap, 2 * at + 1, row)
