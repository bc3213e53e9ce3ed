"""`kzoo demo`: pictures from scikit-image's own files; the network is a stand-in."""

import importlib.util
import socket

import pytest
from PIL import Image

from kzoo.cli import main
from kzoo.cli.demo import PICTURES
from kzoo.data.demo import demo_picture


def test_runs_offline_and_says_where(network, tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise AssertionError("the demo opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main(["demo", "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for stem in ("chelsea", "astronaut"):
        for kind in ("overlay", "mask"):
            file = tmp_path / f"{stem}_{kind}.png"
            assert str(file) in printed
            with Image.open(file) as picture:
                assert picture.height >= 300
        assert f"{stem}: " in printed


def test_without_scikit_image(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert "pip install kzoo[demo]" in capsys.readouterr().err


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_there(name):
    assert demo_picture(name).is_file()


def test_a_picture_that_is_missing():
    with pytest.raises(FileNotFoundError, match=r"kzoo\[demo\]"):
        demo_picture("unicorn.png")
