from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES: Mapping[str, np.dtype[Any]]
