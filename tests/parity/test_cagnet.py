"""kzoo's CaGNet against the PyTorch statement of it, through a checkpoint of the authors' layout; in float32."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.convert import CheckpointError, cagnet, set_weights  # noqa: E402
from kzoo.models.zero_shot import CaGNet  # noqa: E402
from tests.parity import deeplab, torch_cagnet  # noqa: E402
from tests.parity.deeplab import difference, pictures, to_torch  # noqa: E402
from tests.parity.test_deeplab_v2 import bgr  # noqa: E402

CLASSES, FEATURES, FILTERS, HIDDEN, SHARED = 6, 24, 10, (22, 21, 20, 19, 18), 16
BOUND = 1e-4
SIZE = (58, 44)


def state(network):
    return {name: tensor.numpy(force=True) for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = deeplab.random_network(torch_cagnet.CaGNet(CLASSES, FEATURES, FILTERS, HIDDEN, SHARED, 50))
    # Features of a width at which the sigmoids behind them are not flat.
    for branch in network.back.scale.aspp.stages.children():
        branch.weight.data *= 0.3
    return network


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    """Read from a file, all of whose tensors are used; without background, as the published networks are."""
    model = CaGNet(
        CLASSES,
        unseen=[4, 5],
        ignored=[0],
        embedding_size=FEATURES,
        backbone="resnet50",
        backbone_args={"caffe": True},
        align_corners=False,
        head_args={"filters": FEATURES},
        form="code",
        context_filters=FILTERS,
        hidden=HIDDEN,
        dropout=(0.1, 0.1, 0.3, 0.5, 0.5),
        classifier_filters=SHARED,
    )
    deeplab.load(model, {"state_dict": network.state_dict()}, cagnet.CAGNET, tmp_path_factory.mktemp("a") / "a.pth")
    return model


@pytest.fixture(scope="module")
def expected(network):
    with torch.no_grad():
        return network(bgr(pictures(*SIZE)).float())[:, 1:]


def logits(model):
    return np.asarray(model(pictures(*SIZE).astype("float32")))[..., 1:]


def test_equals_torch(model, expected):
    assert deeplab.parameters(torch_cagnet.CaGNet(CLASSES, FEATURES, FILTERS, HIDDEN, SHARED, 50)) == (
        deeplab.of_model(model)[0] + CLASSES * FEATURES,  # to kzoo the word vectors are none that are learned
        deeplab.of_model(model)[1] - CLASSES * FEATURES,
    )
    assert difference(logits(model), expected) < BOUND


FAULTS = {
    "paper's form": lambda m: (m.contextual_module, "form", "paper"),
    "maps' order": lambda m: (m.contextual_module, "contexts", m.contextual_module.contexts[::-1]),
    "dilation of the second map": lambda m: (m.contextual_module.contexts[1], "dilation_rate", (1, 1)),
    "without selector": lambda m: (m.contextual_module, "scale_weights", None),
    "log-variance for the mean": lambda m: (m.contextual_module, "mean", m.contextual_module.log_variance),
    "without contextual module": lambda m: (m, "contextual_module", None),
    "corners aligned": lambda m: (m.to_input_size, "align_corners", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_break_the_bound(model, expected, fault, monkeypatch):
    thing, attribute, value = FAULTS[fault](model)
    if attribute == "contexts":  # all but the first take maps of the same width
        value = [value[2], value[0], value[1]]
    monkeypatch.setattr(thing, attribute, value)
    assert difference(logits(model), expected) > BOUND


def test_latent_code(network, model):
    features = np.random.default_rng(0).normal(size=(1, 9, 8, FEATURES)).astype("float32")
    scale = network.back.scale
    with torch.no_grad():
        one = scale.contextual1(torch.sigmoid(to_torch(features)))
        two = scale.contextual2(one)
        maps = torch.cat([one, two, scale.contextual3(two)], 1)
        weights = torch.sigmoid(scale.fc_1(maps)).repeat_interleave(FILTERS, 1)
        pooled = scale.contextualpool(maps * weights)
        out = model.contextual_module(features)
        assert difference(out["mean"], scale.contextuallocalmu(pooled)) < BOUND
        assert difference(out["log_variance"], scale.contextuallocalsigma(pooled)) < BOUND


def test_generator_and_discriminator(network, model):
    """The word comes before the code, and of the word what the file has first."""
    rng = np.random.default_rng(0)
    classes, codes = rng.integers(0, CLASSES, (1, 3, 5)), rng.normal(size=(1, 3, 5, FEATURES)).astype("float32")
    words = np.asarray(model.embeddings)[classes]
    with torch.no_grad():
        expected = network.generated(torch.from_numpy(classes), to_torch(codes))
        scores = network.dis.pred(network.dis.model(expected))
    generated = model.generator(words, codes)
    assert difference(generated, expected) < BOUND
    assert difference(model.discriminator(model.classifier.hidden(generated)), scores) < BOUND
    assert difference(model.generator(codes, words), expected) > 1e-2
    half = FEATURES // 2
    swapped = np.concatenate([words[..., half:], words[..., :half]], -1)
    assert difference(model.generator(swapped, codes), expected) > 1e-2


def test_other_places_of_the_same_tensors(network, model):
    """Layers in blocks of their own, deeper below their names, and one table of word vectors."""
    before = {weight.path: np.array(weight) for weight in model.weights}
    tensors = state(network)
    words = [tensors.pop("Em_fasttext"), tensors.pop("Em_word2vec")]
    places = {f"gen.mlp.{3 * i}.": f"gen.mlp.model.{i}.conv." for i in range(6)}
    places |= {"dis.model.0.": "dis.D.", "dis.cls.": "dis.cls.0.", "contextual2.0.": "contextual2.conv."}
    moved = {}
    for key, tensor in reversed(tensors.items()):
        for old, new in places.items():
            key = key.replace(old, new)
        moved[key] = tensor
    assert not moved.keys() >= tensors.keys()
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    set_weights(model, {**moved, "Em_both.weight": np.concatenate(words, 1)}, cagnet.CAGNET, "memory")
    for weight in model.weights:
        np.testing.assert_array_equal(weight, before[weight.path], err_msg=weight.path)


MISMATCHES = {
    "a bias": ({"back.scale.contextual1.0.bias": np.zeros(FILTERS, "f4")}, r"contextual1\.bias is unknown"),
    "two convolutions": (
        {"back.scale.contextual1.2.weight": np.zeros((FILTERS, FILTERS, 3, 3), "f4")},
        r"contextual1\.0\.weight is unknown.*contextual1\.2\.weight is unknown",
    ),
    "a layer more": ({"gen.mlp.17.weight": np.zeros((24, 24, 1, 1), "f4")}, r"gen\.mlp\.layer7\.weight is unknown"),
    "a layer less": ({"gen.mlp.3.weight": None, "gen.mlp.3.bias": None}, r"gen\.mlp\.layer2\.weight .* has shape"),
    "no scalars": ({"gen.mlp.3.weight": np.zeros((21, 22, 3, 3), "f4")}, r"layer2\.weight .* has shape"),
    "two shared layers": (
        {"dis.more.weight": np.zeros((SHARED, FEATURES, 1, 1), "f4")},
        r"dis\.model\.0\.weight is unknown.*dis\.more\.weight is unknown",
    ),
    "183 outputs": ({"dis.cls.bias": np.zeros(183, "f4")}, r"dis\.cls\.bias .* has shape \(183,\).* expected \(6,\)"),
    "no words": ({"Em_fasttext": None, "Em_word2vec": None}, "nothing sets embeddings"),
    "words of other classes": (
        {"Em_fasttext": np.zeros((CLASSES - 1, 12), "f4")},
        "Em_fasttext is unknown.*nothing sets embeddings",
    ),
    "another vector": ({"Em_glove": np.zeros((CLASSES, 3), "f4")}, r"embeddings .* has shape \(6, 27\)"),
    "no discriminator": ({"dis.pred.0.weight": None}, "nothing sets discriminator/score/kernel"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_what_does_not_fit_is_named(network, model, what):
    change, words = MISMATCHES[what]
    tensors = {key: value for key, value in {**state(network), **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match=rf"(?s)'a\.pth' does not fit .* as a file of CaGNet: .*{words}"):
        set_weights(model, tensors, cagnet.CAGNET, "a.pth")
