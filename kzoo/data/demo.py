"""Freely licensed photographs that come with scikit-image: what `kzoo demo` shows, and exports are judged by."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def demo_picture(name: str) -> Path:
    """A picture inside the installed scikit-image package; nothing is downloaded.

    Raises:
        FileNotFoundError: scikit-image is not installed, or carries no such picture.
    """
    # Found, not imported: importing scikit-image takes a second, and its own loader may go to the internet.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "The demo's pictures come with scikit-image, which is not installed: pip install kzoo[demo]"
        )
    path = Path(package.origin).parent / "data" / name
    if not path.is_file():
        raise FileNotFoundError(
            f"This scikit-image carries no {name} ({str(path)!r} is missing): pip install --force-reinstall kzoo[demo]"
        )
    return path
