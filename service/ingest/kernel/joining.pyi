from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.ingest.kernel.results import Structs
from service.ingest.kernel.tables import Tables

STRETCH: np.dtype[Any]

def told(tables: Tables) -> Structs: ...
def join_in(
    tables: Tables,
    stretches: Structs,
    readings: NDArray[np.int32],
    tools: NDArray[np.int32],
    resource: int,
    end: int,
) -> None: ...
