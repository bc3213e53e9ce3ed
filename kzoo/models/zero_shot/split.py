"""Which classes of a label set a zero-shot network sees in training, and which it does not."""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.errors import unknown_name


@dataclass(frozen=True)
class ClassSplit:
    """The seen, unseen and ignored classes of a label set.

    Attributes:
        class_names: all classes, in label order.
        unseen: classes of which no pixel is labelled in training; known from their words.
        ignored: classes that are neither trained nor evaluated, such as the background in CaGNet's protocol.

    The lists of a recipe are taken too; they become tuples.

    Raises:
        ValueError: a class twice, an unseen or ignored class that is none of `class_names`, a class that is both, no
            unseen class, or no seen class left.
    """

    class_names: tuple[str, ...]
    unseen: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("class_names", "unseen", "ignored"):
            names = getattr(self, field)
            if isinstance(names, str):
                raise ValueError(f"`{field}` is a list of class names, received the text {names!r}.")
            names = tuple(names)
            object.__setattr__(self, field, names)
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"`{field}` names {', '.join(map(repr, twice))} more than once; name each class once.")
        for kind in ("unseen", "ignored"):
            for name in getattr(self, kind):
                if name not in self.class_names:
                    raise unknown_name(f"{kind} class", name, self.class_names)
        both = [name for name in self.unseen if name in self.ignored]
        if both:
            raise ValueError(
                f"A class is unseen or ignored, not both: take {', '.join(map(repr, both))} out of one of them."
            )
        if not self.unseen:
            raise ValueError("A zero-shot split needs an unseen class or more, received none.")
        if not self.seen:
            raise ValueError(
                f"A zero-shot split needs a seen class or more, but all {len(self.class_names)} classes are unseen or "
                "ignored."
            )

    @property
    def seen(self) -> tuple[str, ...]:
        """The classes that are neither unseen nor ignored, in label order."""
        return tuple(name for name in self.class_names if name not in self.unseen and name not in self.ignored)

    @property
    def seen_indices(self) -> tuple[int, ...]:
        """The labels of the seen classes, rising."""
        return self._indices(self.seen)

    @property
    def unseen_indices(self) -> tuple[int, ...]:
        """The labels of the unseen classes, rising, whatever the order of `unseen`."""
        return self._indices(self.unseen)

    @property
    def ignored_indices(self) -> tuple[int, ...]:
        """The labels of the ignored classes, rising."""
        return self._indices(self.ignored)

    def _indices(self, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(index for index, name in enumerate(self.class_names) if name in names)
