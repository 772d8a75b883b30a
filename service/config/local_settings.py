"""What only the operator knows, as settings write it: prices, currencies, and what a collector lets through."""

import re
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.ingest.local import Sampling, overrides
from service.sampling.names import SHARE_MIN
from service.sampling.policy import policy_from

RATE_MAX = 1e6
"""Dollars that nothing is worth which is called a currency."""


def policies(text: object) -> object:
    """Shares of traces that policies of the Collector's tail sampling keep, by their names, between commas.

    >>> policies("errors=1, sample 1%=0.01")
    (('errors', 1.0), ('sample 1%', 0.01))
    """
    if not isinstance(text, str):
        return text
    found: dict[str, float] = {}
    for told in filter(None, (each.strip() for each in text.split(","))):
        name, _, kept = (part.strip() for part in told.rpartition("="))
        if not name or name in found or not re.fullmatch(r"[0-9.]+", kept, re.ASCII) or kept.count(".") > 1:
            raise ValueError(f'"{told[:80]}" is not a share of a policy, or its second; write errors=1, sample 1%=0.01')
        found[name] = float(kept) if kept.strip(".") else 0.0
        if not SHARE_MIN <= found[name] <= 1:
            raise ValueError(f'"{told[:80]}": a policy keeps more than a millionth and at most all; write 0.01')
    return tuple(found.items())


def shares(text: object) -> object:
    """Shares of traces that are kept, with errors and of the rest.

    >>> shares("errors=1 rest=0.1")
    Sampling(errors=1.0, rest=0.1)
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"errors=([0-9.]+)[\s,]+rest=([0-9.]+)", text.strip(), re.ASCII)
    try:
        kept = [float(number) for number in found.groups()] if found else []
    except ValueError:
        kept = []
    if not kept or not all(SHARE_MIN <= share <= 1 for share in kept):
        raise ValueError(f'"{text[:80]}" is not what is kept; write errors=1 rest=0.1')
    return Sampling(*kept)


def rates(text: object) -> object:
    """Dollars for one of each currency, by its name, between commas.

    >>> rates("eur=1.08, JPY=0.0067")
    (('EUR', 1.08), ('JPY', 0.0067))
    """
    if not isinstance(text, str):
        return text
    found: dict[str, float] = {}
    for told in filter(None, re.split(r"[,\s]+", text.strip())):
        name, _, worth = told.partition("=")
        name = name.upper()
        good = re.fullmatch(r"\S{1,20}", name) and re.fullmatch(r"[0-9]+(\.[0-9]+)?|\.[0-9]+", worth, re.ASCII)
        if not good or name in found or not 0 < float(worth) <= RATE_MAX:
            raise ValueError(f'"{told[:80]}" is not a rate of a currency, or its second; write EUR=1.08, JPY=0.0067')
        found[name] = float(worth)
    return tuple(found.items())


def price_file(path: object) -> object:
    """The prices in the file that a path names."""
    return _read(path, overrides) if isinstance(path, str) and path else path or ()


def keep_file(path: object) -> object:
    """The sampling policy in the file that a path names."""
    return _read(path, policy_from) if isinstance(path, str) and path else path or None


def _read(path: str, read: Callable[[object], object]) -> object:
    """What `read` makes of a file's YAML. Raises ValueError with the file's name before each problem."""
    try:
        return read(YAML(typ="safe", pure=True).load(Path(path).read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}") from None
    except YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValueError as error:
        raise ValueError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
