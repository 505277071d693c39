"""How far apart two vectors may be that should be the same one.

Only one machine, asked twice, gives the same bits, and only where nothing works the vector out again. A
vector that went through an index, another process, another back end or a batch of another shape may differ in
its last bits: local mode normalises once more what it is given, and the sum behind a length depends on the
processor.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

VECTOR_ATOL = 1e-6
"""Of unit vectors in float32: some last bits (6e-8 each), far less than another vector differs by."""


def assert_same_vectors(found: npt.ArrayLike, expected: npt.ArrayLike, message: str = "") -> None:
    """Two vectors, or two stacks of them, are the same but for their last bits."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, message
    np.testing.assert_allclose(found, expected, rtol=0, atol=VECTOR_ATOL, err_msg=message)


def assert_same_vectors_by_id(
    found: Mapping[str, npt.ArrayLike], expected: Mapping[str, npt.ArrayLike]
) -> None:
    """The same points are there, each with the same vector."""
    assert found.keys() == expected.keys()
    for name, vector in found.items():
        assert_same_vectors(vector, expected[name], name)
