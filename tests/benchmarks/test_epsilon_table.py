"""The table of the default epsilon: far better than a fraction of the norm of W for weights from zero."""

from __future__ import annotations

import pytest

from benchmarks.epsilon import errors
from benchmarks.models import CPU


@pytest.mark.parametrize("name", ["regression of 20 weights from zero", "biases of BERT 3 x 96 from zero"])
def test_weights_from_zero(name):
    found = errors(name, CPU)
    for scheme, limit in (("central", 1e-3), ("forward", 1e-2)):
        assert found["default", scheme] < limit
        assert found["norm of W alone", scheme] > 10 * found["default", scheme]
