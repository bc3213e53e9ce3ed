"""What a file is made of: its operators, and how much of the arithmetic runs in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The share of the multiplications that must run in the precision asked for.
LEAST_SHARE = 0.95


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product: its name, operator, multiply-accumulate operations, and their precision."""

    name: str
    operator: str
    macs: int
    precision: str


@dataclass(frozen=True)
class Census:
    """The operators of a file with their counts, and its products."""

    operators: Mapping[str, int]
    products: tuple[Product, ...]

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)

    def macs_in(self, precision: str) -> int:
        return sum(product.macs for product in self.products if product.precision == precision)

    def share(self, precision: str) -> float:
        """The part of the multiplications that runs in `precision`, 0..1."""
        return self.macs_in(precision) / self.macs if self.macs else 1.0


def check_share(census: Census, precision: str) -> None:
    """Raises ValueError if too little of the arithmetic runs in the precision asked for."""
    if census.share(precision) < LEAST_SHARE:
        largest = sorted((p for p in census.products if p.precision != precision), key=lambda p: -p.macs)[:3]
        raise ValueError(
            f"Only {census.share(precision):.1%} of the multiplications would run in {precision}, less than "
            f"{LEAST_SHARE:.0%}. The largest that do not: "
            + ", ".join(f"{p.name} ({p.precision}, {p.macs / census.macs:.1%})" for p in largest)
        )
