"""`kzoo crf search`: on paintings whose best kernel is known, resumed, and with bad input."""

import numpy as np
import pytest
import yaml
from PIL import Image

import kzoo.crf
from kzoo.cli import main
from kzoo.crf import DenseCRF, KernelScorer, SearchGrid
from kzoo.inference import crf_search
from kzoo.models import FCN

GRID = SearchGrid((5.0,), (10.0,), (20.0, 300.0), steps=((5.0, 5.0, 4.0),))


@pytest.fixture
def paintings(network, tmp_path, monkeypatch):
    """Thin bars of a dull red on green, with dark specks that the network just takes for background.

    The spatial kernel removes the specks. A bilateral kernel that sees the bars' colour (137 grey values from green)
    keeps the bars, one of 300 grey values blurs them away.
    """
    monkeypatch.setitem(kzoo.crf.GRIDS, "default", GRID)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rng, palette = np.random.default_rng(0), np.array(network.palette, np.uint8)
    for index in range(3):
        mask = np.full((24, 20 + index), 2, np.uint8)
        mask[:, 6:8], mask[:, 14:16] = 1, 1
        image = palette[mask]
        image[mask == 1] = 0.6 * palette[1] + 0.4 * palette[2]
        image[(rng.random(mask.shape) < 0.05) & (mask == 2)] = (20, 105, 30)
        mask[:3] = 255
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    (tmp_path / "dataset.yaml").write_text("classes: [background, red, green]")
    (tmp_path / "val.txt").write_text("0\n1\n2\n")
    (tmp_path / "empty.txt").write_text("")
    return tmp_path


def search(folder, *options, split="val"):
    words = ["--data", str(folder), "--split", split, "--iterations", "2", "--out", str(folder / "o" / "crf.yaml")]
    return main(["crf", "search", "any", *words, *options])


def test_finds_writes_and_resumes(paintings, network, capsys, monkeypatch):
    scored, predicted = [], []
    score, predict = KernelScorer.__call__, crf_search.predict_logits
    monkeypatch.setattr(KernelScorer, "__call__", lambda *args: (scored.append(args[1:]), score(*args))[1])
    monkeypatch.setattr(
        crf_search, "predict_logits", lambda *args, **options: (predicted.append(args), predict(*args, **options))[1]
    )
    assert search(paintings, "--subset", "2") == 0
    printed = capsys.readouterr().out
    text = (paintings / "o" / "crf.yaml").read_text()
    found = yaml.safe_load(text)
    assert list(found) == [
        *("spatial_sigma", "spatial_weight", "bilateral_sigma_xy", "bilateral_sigma_rgb", "bilateral_weight"),
        *("iterations", "normalization"),
    ]
    assert (found["spatial_sigma"], found["spatial_weight"], found["iterations"]) == (3.0, 3.0, 2)
    assert found["bilateral_sigma_rgb"] < 50
    # What it says of itself: measured once more, by the public layer, on the pictures it names.
    assert "# searched on 2 pictures of " in text and "(seed 0)" in text
    assert "kzoo crf search any --data" in text and "--subset 2 --seed 0 --grid default --iterations 2" in text
    without, *_ = [line for line in printed.splitlines() if line.startswith("without CRF")]
    best = max(float(line.split()[3]) for line in printed.splitlines() if line[:8].strip().isdigit())
    assert best > float(without.split()[-1]) + 1
    assert f"mIoU {best:.2f}, without CRF {without.split()[-1]}" in text
    assert len(predicted) == 2 and len(scored) > 3
    assert DenseCRF(**found).get_config().items() >= found.items()

    # Everything is in the log: nothing is predicted or scored, and the result is the same.
    predicted.clear()
    scored.clear()
    assert search(paintings, "--subset", "2") == 0
    assert not predicted and not scored
    assert (paintings / "o" / "crf.yaml").read_text() == text
    assert "(from the log)" in capsys.readouterr().out

    # Other pictures, another normalisation, another network: another search.
    log = (paintings / "o" / "crf.jsonl").read_text()
    assert search(paintings, "--subset", "3") == 2
    assert "another search: pictures" in capsys.readouterr().err
    assert search(paintings, "--subset", "2", "--normalization", "symmetric") == 2
    assert 'normalization "after", now "symmetric"' in capsys.readouterr().err
    weights = network.get_weights()
    network.set_weights([weight + 1e-6 for weight in weights])
    assert search(paintings, "--subset", "2") == 2
    assert "another search: network" in capsys.readouterr().err
    network.set_weights(weights)
    for index in range(3):
        Image.new("L", (20 + index, 24), 2).save(paintings / "masks" / f"{index}.png")
    assert search(paintings, "--subset", "2") == 2
    assert "another search: files" in capsys.readouterr().err
    assert (paintings / "o" / "crf.jsonl").read_text() == log and not scored


def test_logits_are_kept_in_a_file_where_memory_ends(paintings, network, monkeypatch):
    from kzoo.data import open_dataset

    dataset = open_dataset("folder", paintings, "val")
    with open(paintings / "logits", "w+b") as file:
        monkeypatch.setattr(crf_search, "LOGITS_IN_MEMORY", 24 * 20 * 3 * 2)  # the first picture's
        pictures = crf_search._Pictures(network, dataset, [0, 1, 2], file)
        first, second = list(pictures), list(pictures)
        file.seek(0, 2)
        assert file.tell() == 24 * (21 + 22) * 3 * 2
    for index, ((logits, image, labels), again) in enumerate(zip(first, second, strict=True)):
        expected = np.asarray(network(image[None].astype("float32"))[0])
        expected = expected - expected.max(-1, keepdims=True)
        np.testing.assert_allclose(logits, expected, rtol=2**-10, atol=1e-6)
        np.testing.assert_array_equal(labels, dataset.read_mask(index))
        for array, same in zip((logits, image, labels), again, strict=True):
            np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--split", "empty"), "holds no pictures"),
        (("--subset", "0"), "subset=0"),
        (("--normalization", "symetric"), "Did you mean 'symmetric'"),
        (("--iterations", "0"), "iterations=0"),
        (("--out", "crf.txt"), "name a file that ends in .yaml"),
    ],
)
def test_bad_input(paintings, options, words, capsys):
    assert search(paintings, *options) == 2
    assert words in capsys.readouterr().err
    assert not (paintings / "o").exists()


def test_no_place_for_the_result(paintings, capsys):
    assert search(paintings, "--out", str(paintings / "val.txt" / "crf.yaml")) == 2
    assert "val.txt" in capsys.readouterr().err


def test_an_unknown_network(capsys, tmp_path):
    assert main(["crf", "search", "encnet_mnv2_camvidd", "--data", str(tmp_path), "--split", "val"]) == 2
    assert "Did you mean 'encnet_mnv2_camvid'" in capsys.readouterr().err


def test_a_networks_checksum_is_that_of_what_its_logits_depend_on(tiny_backbone):
    weights, found = None, []
    for stride, align_corners in ((8, True), (8, True), (16, True), (8, False)):
        model = FCN(3, backbone=tiny_backbone, output_stride=stride, filters=8, aux=False, align_corners=align_corners)
        weights = model.get_weights() if weights is None else weights
        model.set_weights(weights)
        found.append(crf_search._checksum(model))
    # All have the same weights; the first two differ by their names alone.
    assert found[0] == found[1] and len(set(found)) == 3
