"""Label sets: class names, the colour of each class, and the label that means "not annotated"."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[int, int, int]

IGNORE_LABEL = 255
"""The label of pixels that no loss and no metric counts."""

MAX_CLASSES = 254
"""Masks are 8-bit: 255 is the ignore label, and 254 marks padding in the augmentation and unknown values in reading."""


def voc_palette(count: int) -> tuple[Color, ...]:
    """The PASCAL VOC colours of the labels 0..count-1, 0..255 each.

    The rule of the VOC development kit: bits 0, 1, 2 of the label are the highest bits of red, green and blue, bits
    3, 4, 5 the next lower ones, and so on. All 256 colours differ.

    Datasets without colours of their own take those after the first, black: `voc_palette(count + 1)[1:]`.
    """
    colors = []
    for label in range(count):
        red = green = blue = 0
        for level in range(3):
            bits = label >> (3 * level)
            weight = 7 - level
            red |= (bits & 1) << weight
            green |= (bits >> 1 & 1) << weight
            blue |= (bits >> 2 & 1) << weight
        colors.append((red, green, blue))
    return tuple(colors)


@dataclass(frozen=True)
class Labels:
    """The classes of a dataset or a network.

    Attributes:
        class_names: one name a class, in label order; the label of a class is its position.
        palette: one RGB colour (0..255) a class.
        ignore_label: the label of pixels without annotation; not a class.

    Raises:
        ValueError: no or too many classes, a name twice, a palette of another length, colours outside 0..255, or an
            ignore label that is also a class.
    """

    class_names: tuple[str, ...]
    palette: tuple[Color, ...]
    ignore_label: int = IGNORE_LABEL

    def __post_init__(self) -> None:
        count = len(self.class_names)
        if not 1 <= count <= MAX_CLASSES:
            raise ValueError(f"A label set has 1 to {MAX_CLASSES} classes (masks are 8-bit), received {count}.")
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if twice:
            raise ValueError(f"Class names must differ, but {', '.join(map(repr, twice))} occurs more than once.")
        if len(self.palette) != count:
            raise ValueError(f"The palette needs one colour a class ({count}), received {len(self.palette)} colours.")
        for name, color in zip(self.class_names, self.palette, strict=True):
            if len(color) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
                raise ValueError(f"The colour of {name!r} must be three integers 0..255 (RGB), received {color!r}.")
        if 0 <= self.ignore_label < count:
            raise ValueError(
                f"The ignore label must not be a class: {self.ignore_label} is {self.class_names[self.ignore_label]!r}."
            )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)
