"""What the tests of exports have, too."""

from tests.export.conftest import network, photographs

__all__ = ["network", "photographs"]
