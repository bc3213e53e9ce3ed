"""CRF layers from names and mappings, and presets from files: what is not understood is an error."""

from __future__ import annotations

import pytest
import yaml

from kzoo.crf import PRESETS, ConvolutionalCRF, DenseCRF, RecurrentCRF, create, load_preset


def test_kind_preset_and_arguments_in_place_of_the_presets():
    layer = create("dense", {"preset": "deeplab_v1_msc", "iterations": 2}, name="mine")
    assert (type(layer), layer.name, layer.iterations) == (DenseCRF, "mine", 2)
    assert (layer.bilateral_sigma_xy, layer.bilateral_sigma_rgb) == (95.0, 3.0)
    assert create("rnn", {"training_iterations": 3}).training_iterations == 3
    layer = create("conv", {"filter_size": 5, "bilateral_weight": "1e-1"})
    assert (layer.filter_size, layer.bilateral_weight) == (5, 0.1)
    assert type(layer) is ConvolutionalCRF and type(create("rnn", {})) is RecurrentCRF


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("dens", {}, "Unknown refinement 'dens'. Did you mean 'dense'"),
        ("dense", {"iteration": 3}, "DenseCRF has no argument 'iteration'. Did you mean 'iterations'"),
        ("dense", {"training_iterations": 3}, "DenseCRF has no argument 'training_iterations'"),
        ("conv", {"kwargs": {}}, "ConvolutionalCRF has no argument 'kwargs'"),
        ("rnn", {"iterations": 2.5}, "RecurrentCRF's argument 'iterations': expected a whole number, got 2.5"),
        ("rnn", {"spatial_sigma": float("nan")}, "RecurrentCRF's argument 'spatial_sigma': expected a number, got nan"),
        ("rnn", {"spatial_sigma": -1}, "positive width. Received: spatial_sigma=-1"),
        ("dense", {"preset": "deeplab"}, "Unknown CRF preset 'deeplab'. Did you mean 'deeplab_v1'"),
        ("dense", {"normalization": "befor"}, "Unknown normalization of a CRF 'befor'. Did you mean 'before'"),
    ],
)
def test_errors(kind, args, message):
    with pytest.raises(ValueError) as error:
        create(kind, args)
    assert message in str(error.value)


def test_presets_by_name_and_from_a_file(tmp_path):
    found = load_preset("pydensecrf")
    assert found == PRESETS["pydensecrf"]
    found["iterations"] = 99
    assert PRESETS["pydensecrf"]["iterations"] == 5
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**PRESETS["crf_rnn"], "spatial_weight": 7}))
    assert load_preset(path) == {**PRESETS["crf_rnn"], "spatial_weight": 7.0}
    assert load_preset(str(path)) == load_preset(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spatial_sigma": float("nan")}, "spatial_sigma: expected a number, got nan"),
        ({"spatial_sgima": 3.0}, "spatial_sgima: unknown key. Did you mean 'spatial_sigma'"),
        ({"iterations": 2.5}, "iterations: expected a whole number, got 2.5"),
        ({"normalization": "both"}, "normalization: expected 'none' or 'before' or 'after' or 'symmetric', got 'both'"),
        ({"normalization": None}, "normalization: expected"),
    ],
)
def test_files_that_are_no_preset(change, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**PRESETS["crf_rnn"], **change}))
    with pytest.raises(ValueError) as error:
        load_preset(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_presets_that_are_not_there(tmp_path):
    path = tmp_path / "mine.yaml"
    with pytest.raises(FileNotFoundError, match=r"The CRF preset '.*mine.yaml' is not there"):
        load_preset(path)
    path.write_text("iterations: 3\n")
    with pytest.raises(ValueError, match=r"mine.yaml: top level: missing 'spatial_sigma'"):
        load_preset(path)
    with pytest.raises(ValueError, match=r"Unknown CRF preset 'crf_rn'\. Did you mean 'crf_rnn'.* The path of a YAML"):
        load_preset("crf_rn")
