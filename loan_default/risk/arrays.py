"""Names the kinds of numpy arrays that modules of `risk` hand to each other. Nothing is computed here.

It defines types alone, which mypy checks wherever they are used, as in what is tested in `risk/test_evaluation.py`.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]  # measured values, one a loan unless said otherwise
Matrix: TypeAlias = NDArray[np.float32]  # (loans, columns of a `FeatureSpace`): what a model reads
