"""Each layer quantised alone."""

import pytest

from kzoo.export.sensitivity import sensitivity
from tests.export.conftest import SIZE


@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_the_layer_that_is_known_for_it_comes_first(network, photographs, format, monkeypatch):
    # Three layers in place of seventy: one that is known to be sensitive, and two that are not.
    wanted = ("expanded_conv_project", "block_16_expand", "block_9_project")
    module = f"kzoo.export.sensitivity._{format}_variants"
    from kzoo.export import sensitivity as room

    original = getattr(room, f"_{format}_variants")

    def few(*args):
        shares, write = original(*args)
        return {name: share for name, share in shares.items() if any(word in name for word in wanted)}, write

    monkeypatch.setattr(module, few)
    rows = sensitivity(network, format, size=SIZE, calibration=photographs, pictures=photographs)
    assert len(rows) == 3 and "expanded_conv_project" in rows[0].name
    assert rows[0].agreement < rows[1].agreement < 1
    assert all(0 < row.share < 0.1 for row in rows)
