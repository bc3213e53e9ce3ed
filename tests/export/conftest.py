"""A trained network and real photographs, small enough to be exported many times."""

import shutil

import pytest

import kzoo
from kzoo.data.demo import demo_picture
from kzoo.export.export import PHOTOGRAPHS

SIZE = (96, 128)


@pytest.fixture(scope="package")
def network():
    return kzoo.load("encnet_mnv2_animals")


@pytest.fixture(scope="package")
def photographs(tmp_path_factory):
    """A folder of scikit-image's photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOGRAPHS:
        shutil.copy(demo_picture(name), folder)
    return folder
