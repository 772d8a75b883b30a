"""State whose files were deleted or replaced while it is open: put back in place from what is open.

An operator who deletes the directory of a running daemon, or puts another file there, has not asked it to forget: its
incidents are open, and its baselines took weeks. So it saves all of it anew where it belongs, and says so. What stands
there instead keeps its content under another name, as it may be a backup that was meant; it is used if the daemon is
stopped first.
"""

import logging

from service.store.outbox import Outbox
from service.store.sqlite import Store, connect

log = logging.getLogger("tocsin")


def put_back(store: Store, outbox: Outbox, lost: str, now_ns: int) -> str:
    """Go on with a whole copy of the open state in the directory; what happened, for people.

    Nothing else may use the store or the outbox meanwhile. Raises StoreError, OSError or sqlite3.Error where it cannot.
    """
    found = store.copy(now_ns)
    outbox.close()
    store.put_back()
    outbox.reopen(connect(store.directory), connect(store.directory))
    kept = f"; what was found there is kept as {', '.join(found)}" if found else ""
    said = f"{lost} in {store.directory} while it was in use: the state is saved anew{kept}. Stop Tocsin before that"
    log.error("%s", said)
    return said
