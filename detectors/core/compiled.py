"""Loops that are compiled where they can be, beside numpy's form of the same.

numpy passes over a tick once for each operation, and a table of tens of numbers a series then costs several times its
arithmetic. Compiling takes a second or two a loop and happens at its first call, or when `warm` asks for it: then the
machine code is kept on disk, where the shell has set up a place for it. Where nothing can be compiled numpy's form is
used: the same up to rounding, which the tests hold them to, and slower.
"""

from collections.abc import Callable
from typing import Any

AS: Any = {"nogil": True, "error_model": "numpy"}
_COMPILED: list["Compiled"] = []


class Compiled:
    """A loop over arrays of the types in one of the `signatures`, called like `plain`, its form in numpy."""

    def __init__(self, signatures: list[str], loop: Callable[..., Any], plain: Callable[..., Any]) -> None:
        self.signatures, self.loop, self.plain = signatures, loop, plain
        self.kept = False
        self._run: Callable[..., Any] | None = None
        _COMPILED.append(self)

    def __call__(self, *given: Any) -> Any:
        if self._run is None:
            self.make()
        assert self._run is not None
        return self._run(*given)

    def make(self) -> None:
        """Compile the loop, or take numpy's form."""
        self._run = self._made()

    def _made(self) -> Callable[..., Any]:
        # The compiler raises what it likes, and what it kept on disk may be broken; numpy's form says the same.
        try:
            from numba import njit

            made: Callable[..., Any] = njit(self.signatures, cache=self.kept, **AS)(self.loop)
        except Exception:
            return self.plain
        return made


def warm() -> None:
    """Compile all loops now, or load them: their code is kept in the compiler's directory (numba.config.CACHE_DIR)."""
    for one in _COMPILED:
        one.kept = True
        one.make()


def compiled(signatures: list[str], plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Compiled]:
    """Decorates a loop over plain arrays: `signatures` as numba writes them, `plain` the same in numpy."""
    return lambda loop: Compiled(signatures, loop, plain)
