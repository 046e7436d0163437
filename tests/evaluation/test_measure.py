"""What is measured."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from support.evaluation import methods
from support.needs import needs_evaluation

from pti_hub import InputError, MissingDependencyError, PTIPipeline
from pti_hub.evaluation import Measurements, open_photographs
from pti_hub.evaluation.measure import similarity

pytestmark = needs_evaluation


def test_what_is_measured(large_pipe: PTIPipeline, photos: Path) -> None:
    photograph = next(open_photographs(photos)).image
    assert photograph is not None
    plain, tuned = (Measurements(large_pipe)(m, photograph, ["reconstruction", "drift"]).values for m in methods())
    assert plain.keys() == tuned.keys() >= {"lpips_alex", "lpips_alex_256", "mse", "psnr", "ms_ssim", "w_distance"}
    assert tuned["lpips_alex"] < plain["lpips_alex"]
    assert tuned["w_distance"] == plain["w_distance"]
    # Nothing was tuned, so nothing went anywhere.
    assert plain["drift_mse"] == 0 < tuned["drift_mse"]
    assert plain["drift_lpips"] < 1e-9 < tuned["drift_lpips"]
    # PSNR follows from the error of what can be shown.
    assert plain["psnr"] == pytest.approx(10 * math.log10(4 / plain["mse"]), abs=1)
    with pytest.raises(InputError, match="'tiny' has no direction pose, smile, age; measure without edits"):
        Measurements(large_pipe)(methods()[0], photograph, ["edits"])
    with pytest.raises(InputError, match="no metric is named beauty; there are reconstruction, identity, edits"):
        Measurements(large_pipe)(methods()[0], photograph, ["beauty"])


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_fid_says_what_it_needs(large_pipe: PTIPipeline, photos: Path) -> None:
    with pytest.raises(MissingDependencyError, match="FID needs torch-fidelity and the weights it downloads"):
        Measurements(large_pipe).check(["fid"])


def test_similarity_is_the_cosine() -> None:
    assert similarity(np.array([3.0, 0]), np.array([2.0, 2])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(similarity(np.full(3, np.nan), np.ones(3)))
