"""Word vectors of classes: which vector a name gets, from arrays and from text files."""

import numpy as np
import pytest

from kzoo.data import COCO_STUFF, VOC
from kzoo.models.zero_shot import ClassEmbeddings, concatenate, read_embeddings

WORDS = {"cow": (3, 4), "Cow": (1, 0), "potted": (1, 0), "plant": (0, 3), "tv_monitor": (0, 2), "T-shirt": (5, 12)}


@pytest.fixture
def text_file(tmp_path):
    def write(lines=None, header=None, ending="\n"):
        lines = lines or [f"{word} {' '.join(map(str, vector))}" for word, vector in WORDS.items()]
        path = tmp_path / "vectors.txt"
        path.write_bytes("".join(line + ending for line in ([header] if header else []) + lines).encode())
        return path

    return write


@pytest.fixture
def array_file(tmp_path):
    def write(array):
        np.save(tmp_path / "vectors.npy", array)
        return tmp_path / "vectors.npy"

    return write


def test_names_match_up_to_separators_and_case():
    found = ClassEmbeddings(("__background__", "Potted Plant", "tv-monitor"), [[1, 2], [3, 4], [5, 6]])
    chosen = found.select(["tvmonitor", "background", "pottedplant"])
    assert chosen.class_names == ("tvmonitor", "background", "pottedplant")
    np.testing.assert_array_equal(chosen.vectors, [[5, 6], [1, 2], [3, 4]])
    assert chosen.size == 2 and chosen.vectors.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        chosen.vectors[0, 0] = 0
    with pytest.raises(ValueError, match=r"Unknown class \(it has no vector\) 'tvmonitr'. Did you mean 'tv-monitor'"):
        found.select(["tvmonitr"])


def test_norm():
    source = ClassEmbeddings(("a", "b"), [[3, 4], [0, 0.5]])
    np.testing.assert_allclose(source.normalized().vectors, [[0.6, 0.8], [0, 1]], rtol=1e-7)


def test_concatenation_takes_each_source_in_the_first_ones_order():
    joined = concatenate([ClassEmbeddings(("a", "b c"), [[1, 2], [3, 4]]), ClassEmbeddings(("bc", "a"), [[5], [6]])])
    assert joined.class_names == ("a", "b c")
    np.testing.assert_array_equal(joined.vectors, [[1, 2, 6], [3, 4, 5]])
    with pytest.raises(ValueError, match="source 1 has a, c"):
        concatenate([ClassEmbeddings(("a", "b"), np.eye(2)), ClassEmbeddings(("a", "c"), np.eye(2))])
    with pytest.raises(ValueError, match="one source of vectors or more"):
        concatenate([])


@pytest.mark.parametrize(
    ("names", "vectors", "message"),
    [
        (("a", "b"), [[1, 2]], r"vectors of 2 classes as numbers \(2, D\).*\(1, 2\)"),
        (("a",), [1, 2], r"received int64 \(2,\)"),
        (("a",), [["x"]], "received <U1"),
        (("a", "b"), [[1, 2], [np.nan, 1]], "vector of 'b' holds NaN or infinity"),
        (("a", "b"), [[1e300, 2], [1, 1]], "vector of 'a' holds NaN or infinity"),
        (("a", "b"), [[0, 0], [1, 1]], "vector of 'a' is all zeros"),
        (("hot dog", "a", "hotdog"), np.eye(3), "received 'hot dog', 'hotdog'"),
    ],
)
def test_wrong_vectors(names, vectors, message):
    with pytest.raises(ValueError, match=message):
        ClassEmbeddings(names, vectors)


@pytest.mark.parametrize("form", ["{name}", "{index}\t{name}", "{index}: {name}", "{one}: {name}\n"])
def test_array_with_label_file(array_file, tmp_path, form):
    names = ["__background__", "potted plant", "cow"]
    lines = [form.format(index=i, one=i + 1, name=name) for i, name in enumerate(names)]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    path = array_file(np.array([[3.0, 4], [1, 0], [0, 2]]))
    found = read_embeddings(path, tmp_path / "labels.txt")
    assert found.class_names == tuple(names)
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [1, 0], [0, 1]], rtol=1e-7)
    chosen = read_embeddings(path, names, ["cow", "pottedplant"], normalize=False)
    assert chosen.class_names == ("cow", "pottedplant")
    np.testing.assert_array_equal(chosen.vectors, [[0, 2], [1, 0]])


def test_wrong_arrays_and_labels(array_file, tmp_path):
    path = array_file(np.eye(3))
    with pytest.raises(ValueError, match="has 3 rows, but there are 2 labels"):
        read_embeddings(path, ["a", "b"])
    with pytest.raises(ValueError, match="has 3 rows, but there are 4 labels"):
        read_embeddings(path, ["a", "b", "c", "unlabeled"])
    with pytest.raises(ValueError, match="give `labels`"):
        read_embeddings(path)
    with pytest.raises(FileNotFoundError, match=r"no file of labels .*none\.txt"):
        read_embeddings(path, tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"no file of vectors .*none\.npy"):
        read_embeddings(tmp_path / "none.npy", ["a"])
    for lines in ("0 a\n2 b\n1 c", "0 a\nb\n1 c"):
        (tmp_path / "labels.txt").write_text(lines)
        with pytest.raises(ValueError, match="indices that rise by one"):
            read_embeddings(path, tmp_path / "labels.txt")
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Cannot read .*vectors\.npy"):
        read_embeddings(path, ["a"])
    path.write_text("a 1 2")
    with pytest.raises(ValueError, match=r"Cannot read .*vectors\.npy"):
        read_embeddings(path, ["a"])


@pytest.mark.parametrize("header", [None, "6 2"])
@pytest.mark.parametrize("ending", ["\n", " \n", "\r\n"])
def test_text_file(text_file, header, ending):
    path = text_file(header=header, ending=ending)
    names = ["potted plant", "cow", "COW", "tvmonitor", "tv monitor", "t shirt"]
    found = read_embeddings(path, class_names=names[:2] + names[3:4] + names[5:], normalize=False)
    # A mean over words, the name as written, a word of the same letters, another separator and case.
    np.testing.assert_array_equal(found.vectors, [[0.5, 1.5], [3, 4], [0, 2], [5, 12]])
    capitals = read_embeddings(path, class_names=["COW", "tv monitor"], normalize=False)
    np.testing.assert_array_equal(capitals.vectors, [[3, 4], [0, 2]])  # the first in the file
    np.testing.assert_array_equal(read_embeddings(path, ["Cow"], normalize=False).vectors, [[1, 0]])
    np.testing.assert_allclose(read_embeddings(path, class_names=["cow"]).vectors, [[0.6, 0.8]], rtol=1e-7)


def test_a_phrase_of_the_file_comes_before_the_mean_over_words(text_file):
    path = text_file(["plant 1 1", "potted 3 3", "pottedplant 9 9"])
    np.testing.assert_array_equal(read_embeddings(path, ["potted plant"], normalize=False).vectors, [[2, 2]])
    path = text_file(["plant 1 1", "Potted_plant 7 8", "potted 3 3"])
    np.testing.assert_array_equal(read_embeddings(path, ["potted plant"], normalize=False).vectors, [[7, 8]])


def test_words_with_spaces_as_glove_has_them(text_file):
    path = text_file(["the 1 2", ". . . 3 4", "cow 5 6"])
    np.testing.assert_array_equal(read_embeddings(path, ["cow"], normalize=False).vectors, [[5, 6]])


def test_unknown_words_are_all_named(text_file):
    with pytest.raises(ValueError, match=r"no vector for 'zebu', 'potted zebu' \(zebu\)\. Write"):
        read_embeddings(text_file(), class_names=["zebu", "cow", "potted zebu"])
    with pytest.raises(ValueError, match="Give the classes"):
        read_embeddings(text_file())


@pytest.mark.parametrize("bad", ["bull 1 2 3", "bull 1", "bull"])
def test_lines_of_another_length(text_file, bad):
    with pytest.raises(ValueError, match=r"Line 2 of .*must be a word and 2 numbers"):
        read_embeddings(text_file(["ox 1 2", bad, "cow 1 2"]), ["cow"])


def test_numbers_that_are_none(text_file):
    with pytest.raises(ValueError, match=r"Line 2 of .*must be a word and 2 numbers"):
        read_embeddings(text_file(["ox 1 2", "cow 1 two"]), ["cow"])
    with pytest.raises(ValueError, match="vector of 'cow' holds NaN"):
        read_embeddings(text_file(["ox 1 2", "cow 1 nan"]), ["cow"])


@pytest.mark.parametrize(
    ("vectors", "labels", "classes"),
    [
        ("spnet__voc12__word2vec.npy", "labels_voc12.txt", VOC.class_names),
        ("spnet__voc12__fasttext.npy", "labels_voc12.txt", VOC.class_names),
        ("zs3__pascal__norm_embed_arr_300.npy", VOC.class_names, VOC.class_names),
        ("spnet__cocostuff__fasttext.npy", "labels_cocostuff182.txt", COCO_STUFF.class_names),
    ],
)
def test_published_files(kzoo_data, vectors, labels, classes):
    """What words are near each other shows whether rows and names belong together."""
    folder = kzoo_data / "embeddings"
    labels = folder / labels if isinstance(labels, str) else labels
    found = read_embeddings(folder / vectors, labels, classes)
    assert found.class_names == classes and found.size == 300
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-6)
    near = np.argsort(-found.vectors @ found.vectors[classes.index("cow")])
    assert {classes[index] for index in near[:3]} <= {"cow", "sheep", "horse", "elephant"}
