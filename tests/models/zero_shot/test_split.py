"""Which classes are seen, unseen and ignored."""

import pytest

from kzoo.models.zero_shot import ClassSplit

NAMES = ("background", "cat", "cow", "dog", "sheep")


def test_seen_unseen_ignored():
    split = ClassSplit(NAMES, unseen=("sheep", "cat"), ignored=("background",))
    assert split.seen == ("cow", "dog")
    assert (split.seen_indices, split.unseen_indices, split.ignored_indices) == ((2, 3), (1, 4), (0,))


def test_the_lists_of_a_recipe():
    split = ClassSplit(list(NAMES), ["cow"])
    assert split == ClassSplit(NAMES, ("cow",))
    assert split.seen_indices == (0, 1, 3, 4)
    hash(split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NAMES, ("cwo",)), "Unknown unseen class 'cwo'. Did you mean 'cow'"),
        ((NAMES, ("cow",), ("backgrund",)), "Unknown ignored class 'backgrund'. Did you mean 'background'"),
        ((NAMES, ("cow", "cat"), ("cow",)), "unseen or ignored, not both: take 'cow'"),
        ((NAMES, ("cow", "cow")), "`unseen` names 'cow' more than once"),
        ((("cat", "dog", "cat"), ("dog",)), "`class_names` names 'cat' more than once"),
        ((NAMES, ()), "needs an unseen class or more, received none"),
        ((NAMES, NAMES[1:], NAMES[:1]), "needs a seen class or more, but all 5"),
        ((NAMES, "cow"), "`unseen` is a list of class names, received the text 'cow'"),
    ],
)
def test_wrong_splits(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassSplit(*arguments)
