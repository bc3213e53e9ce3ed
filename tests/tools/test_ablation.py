"""The ablations' tables: what is run, under which names, and how results become rows."""

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest

from kzoo.training.config import load_config

_PATH = Path(__file__).resolve().parents[2] / "tools" / "ablation.py"
_SPEC = importlib.util.spec_from_file_location(_PATH.stem, _PATH)
assert _SPEC is not None and _SPEC.loader is not None
ablation = sys.modules[_PATH.stem] = importlib.util.module_from_spec(_SPEC)  # dataclasses look their module up
_SPEC.loader.exec_module(ablation)


@pytest.mark.parametrize("rows", ablation.TABLES.values(), ids=ablation.TABLES)
def test_rows_are_recipes_that_differ(rows):
    configs = []
    for row in rows:
        recipe = ablation.RECIPES / f"{row.recipe}.yaml"
        configs.append(load_config(recipe, [f"{key}={value}" for key, value in row.settings.items()]))
    for one, other in itertools.combinations(configs, 2):
        assert one != other
        # A comparison: all but the network and its losses are alike.
        assert (one.data, one.optimizer, one.train) == (other.data, other.optimizer, other.train)


def test_a_run_has_one_name_in_all_tables():
    runs: dict[str, tuple] = {}
    for row in itertools.chain.from_iterable(ablation.TABLES.values()):
        for seed in row.seeds:
            same = (row.recipe, tuple(row.settings.items()), seed)
            assert runs.setdefault(row.run(seed), same) == same
    assert "sanet_seed1" in runs and "sanet_pool_4_seed1" in runs


def test_table_takes_means_over_seeds():
    rows = (ablation.Row("FCN", "fcn", (1, 2)),)
    iou = dict.fromkeys(ablation.SMALL_CLASSES, 0.25)
    results = {f"fcn_seed{seed}": {"val_miou": miou, "val_iou": iou} for seed, miou in ((1, 0.5), (2, 0.6))}
    assert ablation.table(rows, results).splitlines()[-1].startswith("| FCN | 55.0 | 50.0, 60.0 | 25.0 | 25.0 |")
