"""Legs of sessions as tests write them."""

from typing import Any

import numpy as np

from service.ingest.legs import WENT, Legs, Texts
from tests.service.ingest.wire import at_ns


def legs(*said: dict[str, Any]) -> Legs:
    """Legs by what is said of each: `key`, `trace`, `named`, `at_s`, `lasted_s`, anything of WENT, labels and so on."""
    made = [
        {
            "key": i, "trace": i, "named": True, "at_s": 0.0, "lasted_s": 10.0, "traces": 1, "lowest": np.nan,
            "tokens": (100.0, 10.0), "dollars": 0.01, "failed": False, "weight": 1.0, "tenant": "acme",
            "agent": "helper", "version": "1", "model": "m", "outcome": "", **one,
        }
        for i, one in enumerate(said, 1)
    ]  # fmt: skip

    def ids(name: str) -> Any:
        raw = b"".join(one[name] if isinstance(one[name], bytes) else one[name].to_bytes(16, "big") for one in made)
        return np.frombuffer(raw, "V16")

    def column(name: str, kind: type) -> Any:
        return np.array([one[name] for one in made], kind)

    return Legs(
        key=ids("key"), trace=ids("trace"), named=column("named", bool),
        first_ns=np.array([at_ns(one["at_s"] - one["lasted_s"]) for one in made]),
        last_ns=np.array([at_ns(one["at_s"]) for one in made]), traces=column("traces", int),
        went=np.array([[one.get(name, 0) for name in WENT] for one in made]), lowest=column("lowest", float),
        tokens=column("tokens", float), dollars=column("dollars", float), failed=column("failed", bool),
        weight=column("weight", float),
        texts=[Texts(*(one[name] for name in Texts._fields)) for one in made],
    )  # fmt: skip
