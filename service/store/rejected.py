"""Records that could not be read without an error of ours, kept in the data directory for a person to look at."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from service.batch import SetAside

log = logging.getLogger("tocsin")

DIRECTORY = "rejected"
FILES_MAX = 100
"""The oldest give way to further ones."""


class Rejected:
    """A directory with a file a record: `NUMBER.bin` its body, `NUMBER.json` where it came from and what it led to."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / DIRECTORY

    def keep(self, found: Sequence[SetAside], now_ns: int) -> None:
        """Write these down. Where that fails, it is said: paging goes on."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            for place, (record, error) in enumerate(found):
                name = f"{now_ns + place}"
                about = {"partition": record.partition, "signal": record.signal, "error": error}
                for suffix, content in ((".bin", record.body), (".json", json.dumps(about).encode())):
                    path = self._directory / (name + suffix)
                    path.touch(mode=0o600)
                    path.write_bytes(content)
                log.error("a record of %s was set aside: %s.bin; %s", record.partition, self._directory / name, error)
            for path in sorted(self._directory.iterdir())[: -2 * FILES_MAX]:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%d records that were set aside cannot be kept: %s", len(found), error)
