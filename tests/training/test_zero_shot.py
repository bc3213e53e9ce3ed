"""Recipes of zero-shot networks: what the section says reaches data, network, optimizers and the run's state."""

import json

import numpy as np
import pytest
from PIL import Image

from kzoo.cli import main
from kzoo.data import open_dataset
from kzoo.training import load_config, train
from kzoo.training.zero_shot import seen_pictures
from kzoo.zoo import open_model

RECIPE = """
model:
  name: cagnet
  args:
    backbone: tiny
    output_stride: 8
    head: deeplab_v3plus
    head_args: {{filters: 8, low_level: null}}
    context_filters: 4
    hidden: [8]
    dropout: [0.0]
    classifier_filters: 8
data: {{dataset: folder, root: {root}, crop: [48, 48], batch_size: 2}}
optimizer: {{name: sgd, learning_rate: 0.01}}
train: {{epochs: 2, seed: 7}}
zero_shot:
  unseen: [ball]
  embeddings: [{vectors}, {vectors}]
"""


@pytest.fixture
def recipe(tmp_path, tiny_backbone):
    """Path of a recipe on 10 pictures of three classes; every fifth one shows the unseen class."""
    rng, root = np.random.default_rng(0), tmp_path / "pictures"
    for split, count in (("train", 10), ("val", 3)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            mask = rng.integers(0, 2, (60, 70)).astype(np.uint8)
            if split == "val" or index % 5 == 4:
                mask[:20] = 2
            Image.fromarray(rng.integers(0, 256, (60, 70, 3)).astype(np.uint8)).save(
                root / split / "images" / f"{index}.png"
            )
            Image.fromarray(mask).save(root / split / "masks" / f"{index}.png")
    (root / "dataset.yaml").write_text("classes: [ground, box, ball]\n")
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("ground 1 0 0\nbox 0 1 0\nball 0 1 1\ncube 0 1 0.5\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=root, vectors=vectors))
    return path


def changed(recipe, old, new):
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return recipe


def test_a_run_is_a_zero_shot_network_and_takes_another_class(recipe, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", str(recipe), "--run", str(folder), "--quiet"]) == 0
    config = load_config(folder / "config.yaml")
    assert config.model.args["unseen"] == [2]
    assert config.model.args["embedding_size"] == 6  # two sources of three
    model = open_model(folder)
    half = 2**-0.5
    np.testing.assert_allclose(model.embeddings, [[1, 0, 0] * 2, [0, 1, 0] * 2, [0, half, half] * 2], atol=1e-6)
    with np.load(folder / "state.npz") as state:
        groups = {name.partition("/")[0] for name in state.files}
        steps = {name: int(state[f"{name}/0"]) for name in groups if name.endswith("optimizer")}
    assert groups == {"model", "notes", "optimizer", "generator_optimizer", "discriminator_optimizer"}
    assert steps == {"optimizer": 8, "generator_optimizer": 8, "discriminator_optimizer": 8}  # 8 of 10 pictures

    vectors, data, grown = tmp_path / "vectors.txt", tmp_path / "pictures", tmp_path / "grown.keras"
    add = ["zeroshot", "add", str(folder), "--class", "cube", "-o", str(grown)]
    assert main([*add, "--vectors", str(vectors), "--vectors", str(vectors)]) == 0
    assert open_model(grown).class_names == ("ground", "box", "ball", "cube")
    assert main([*add, "--vectors", str(vectors)]) != 0  # one source of the network's two
    assert "6 finite numbers" in capsys.readouterr().err

    result = tmp_path / "result.json"
    assert main(["eval", str(folder), "--data", str(data), "--split", "val", "--json", str(result)]) == 0
    found = json.loads(result.read_text())
    seen = (found["iou"]["ground"] + found["iou"]["box"]) / 2
    assert found["seen_miou"] == pytest.approx(seen)
    assert found["unseen_miou"] == pytest.approx(found["iou"]["ball"])
    assert "hIoU" in capsys.readouterr().out
    pure = ["--setting", "pure", "--json", str(result)]
    assert main(["eval", str(folder), "--data", str(data), "--split", "val", *pure]) == 0
    matrix = np.array(json.loads(result.read_text())["confusion"])
    assert matrix[2, 2] == matrix.sum() == 3 * 20 * 70  # one unseen class: nothing to mistake it for


def test_goes_on_as_if_nothing_had_happened(recipe, tmp_path, monkeypatch):
    changed(recipe, "    hidden: [8]", "    phase_steps: 3\n    hidden: [8]")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_config(recipe), whole, verbose=0)
    monkeypatch.setattr("kzoo.training.run._finish", lambda *_: {})

    class StoppedError(Exception):
        pass

    def stop(self, row):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("kzoo.training.epoch_end.EpochEnd._report", stop)
        with pytest.raises(StoppedError):
            train(load_config(recipe), broken, verbose=0)
    train(load_config(recipe), broken, verbose=0)
    with np.load(whole / "state.npz") as one, np.load(broken / "state.npz") as other:
        for key in set(one.files) - {"notes"}:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_a_network_starts_from_the_features_of_another(recipe, tmp_path):
    text = recipe.read_text()
    features = tmp_path / "features.yaml"
    head, tail = text.index("  name:"), text.index("data:")
    args = "{backbone: tiny, output_stride: 8, filters: 8, low_level: null}"
    features.write_text(text[:head] + f"  name: deeplab_v3plus\n  args: {args}\n" + text[tail:])
    train(load_config(features), tmp_path / "features", verbose=0)
    changed(recipe, "  name: cagnet", f"  name: cagnet\n  init: {tmp_path / 'features'}")
    changed(recipe, "    hidden: [8]", "    freeze_features: true\n    hidden: [8]")
    train(load_config(recipe), tmp_path / "run", verbose=0)
    trunk, network = open_model(tmp_path / "features"), open_model(tmp_path / "run")
    for part in ("backbone", "head"):
        for one, other in zip(getattr(trunk, part).weights, getattr(network, part).weights, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("policy", "left"), [("", 10), ("\n  ignored_pictures: drop", 8)])
def test_pictures_of_ignored_classes(recipe, policy, left):
    changed(recipe, "unseen: [ball]", f"unseen: [box]\n  unseen_pictures: ignore\n  ignored: [ball]{policy}")
    config = load_config(recipe)
    data = seen_pictures(config, open_dataset("folder", config.data.root, "train"))
    assert len(data) == left
    assert {int(label) for index in range(left) for label in np.unique(data.read(index)[1])} == {0, 255}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unseen: [ball]", "unseen: [bal]", "Did you mean 'ball'"),
        ("unseen: [ball]", "unseen: []", "needs an unseen class"),
        ("unseen: [ball]", "unseen: [ball]\n  unseen_pictures: error", "carries ball"),
        ("unseen: [ball]", "unseen: [ball]\n  ignored: [ball]", "not both"),
        ("  embeddings:", "  unseen_pictures: drop #", "needs a file of word vectors"),
        ("zero_shot:\n  unseen: [ball]\n  embeddings:", "# ", "needs this section"),
    ],
)
def test_what_a_recipe_lacks_is_named_before_a_folder_is_made(recipe, tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        train(load_config(changed(recipe, old, new)), tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
