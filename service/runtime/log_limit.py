"""A log that cannot be flooded: each kind of message of a library at most once a minute."""

import logging
from collections.abc import Callable

EVERY_S = 60.0
KINDS_MAX = 1_000


class Seldom(logging.Filter):
    """Lets a message pass if none of its first line was let pass within a minute; says how many were not."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__()
        self._now_s = now_s
        self._told_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = self._now_s()
        kind = str(record.msg).partition("\n")[0]
        if kind not in self._told_s and len(self._told_s) >= KINDS_MAX:
            return False
        if now_s - self._told_s.get(kind, float("-inf")) < EVERY_S:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._told_s[kind] = now_s
        if left_out := self._left_out.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like this since the last one)", ()
        return True
