"""What a daemon asks of whoever knows whether it leads; and the answers where it is the only one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from service.batch import Said
from service.runtime.batching import Taking
from service.sources.positions import Led
from service.standby.rehearing import Rehearing
from service.store.entries import Entry
from service.store.sqlite import Store


class NotLeadingError(Exception):
    """What a person said cannot be taken in here now; the text says why."""


class Lead(Protocol):
    """One daemon's."""

    def may_tell(self) -> bool:
        """Whether a delivery may begin now: nobody else leads, for sure."""

    async def told(self, rows: Callable[[], Sequence[Entry]]) -> None:
        """These rows wait no more. Whoever leads next is told before our own outbox is."""

    async def hear(self, words: Sequence[Said], read: Mapping[str, int]) -> Mapping[str, int]:
        """A person says this, after reports up to these offsets. Returns the offsets to save with it.

        Raises NotLeadingError where whoever leads next could not hear it.
        """

    def positions(self, saved: Mapping[str, int]) -> Led | None:
        """Who knows where reading goes on; None where the group does, too."""

    def taking(self, taking: Taking, saved: Mapping[str, int]) -> Taking | Rehearing:
        """The reader's end of the queue, with what people told a former leader."""

    def saved(self, store: Store) -> None:
        """A save was committed. In the thread that saved."""

    async def ended(self, store: Store) -> None:
        """All is saved, and nothing is sent any more."""


class Alone:
    """No other instance takes over from this one."""

    def may_tell(self) -> bool:
        return True

    async def told(self, rows: Callable[[], Sequence[Entry]]) -> None:
        pass

    async def hear(self, words: Sequence[Said], read: Mapping[str, int]) -> Mapping[str, int]:
        return {}

    def positions(self, saved: Mapping[str, int]) -> Led | None:
        return None

    def taking(self, taking: Taking, saved: Mapping[str, int]) -> Taking | Rehearing:
        return taking

    def saved(self, store: Store) -> None:
        pass

    async def ended(self, store: Store) -> None:
        pass


ALONE = Alone()
