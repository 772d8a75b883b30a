"""Failures of real requests as the null: what happened to real clients, put together anew.

A series is so many streams laid over one another; each stream is made of 6-hour blocks of the real requests, every
block from the same time of day of a random day. Whatever clumping the failures had within six hours is kept.
"""

import csv
import gzip
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Tick
from tests.bench.nulls import DAY, WEEK
from tests.detectors.ticks import MIDNIGHT, tick

BLOCK = 360
SUPERPOSED = (1, 8, 64)
"""Streams in a series: about 0.014, 0.11 and 0.9 requests a second."""


def by_minute(path: str) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """(all, failed) requests of each minute, (days, blocks, BLOCK), whole days only.

    Reads a gzipped CSV with `gmt_create` and `predict_status`.
    """
    with gzip.open(path, "rt", newline="") as file:
        rows = [(_minute(row["gmt_create"]), row["predict_status"] == "FAILED") for row in csv.DictReader(file)]
    minutes = np.array([minute for minute, _ in rows])
    failed = np.array([minute for minute, failed in rows if failed])
    first, last = -(-minutes.min() // DAY), minutes.max() // DAY
    edges = np.arange(first * DAY, last * DAY + 1)
    shape = (last - first, DAY // BLOCK, BLOCK)
    return tuple(np.histogram(each, edges)[0].astype(np.int16).reshape(shape) for each in (minutes, failed))  # type: ignore[return-value]


def _minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


class RealStream:
    """Ticks of real failures, minute by minute. Series ids begin at 1."""

    def __init__(self, path: str, series: int, weeks: int, seed: int, superposed: int) -> None:
        rng, (count, failed) = np.random.default_rng(seed), by_minute(path)
        self.minutes = weeks * WEEK
        blocks = self.minutes // BLOCK
        time_of_day = np.arange(blocks) % count.shape[1]
        self.counts: NDArray[Any] = np.zeros((series, blocks, BLOCK), np.int16)
        self.failed: NDArray[Any] = np.zeros((series, blocks, BLOCK), np.int16)
        for s in range(series):
            for _ in range(superposed):
                day = rng.integers(len(count), size=blocks)
                self.counts[s] += count[day, time_of_day]
                self.failed[s] += failed[day, time_of_day]
        self.counts = self.counts.reshape(series, -1)
        self.failed = self.failed.reshape(series, -1)
        self.incident = np.zeros((series, self.minutes), np.bool_)

    def at(self, minute: int) -> Tick | None:
        """The tick of a minute, None if it counted nothing."""
        rows = np.flatnonzero(self.counts[:, minute])
        if not len(rows):
            return None
        return tick(MIDNIGHT + minute, rows + 1, self.counts[rows, minute], self.failed[rows, minute])
