"""What `import connectors` offers."""

import connectors


def test_every_name_that_is_offered_is_there() -> None:
    assert set(connectors._HOMES) == set(connectors.__all__)
    for name in connectors.__all__:
        assert getattr(connectors, name) is not None
