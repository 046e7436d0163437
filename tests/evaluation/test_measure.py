"""What is measured."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.evaluation import methods
from support.needs import needs_evaluation, needs_models

from pti_hub import InputError, MissingDependencyError, PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.evaluation import Measurements, Method, open_photographs
from pti_hub.evaluation.measure import similarity
from pti_hub.tuners import Tuning

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


class Watched(PivotalTuner):
    """Keeps the likenesses that it is given."""

    def tune(self, *args: Any, likenesses: Any = None, **kwargs: Any) -> Tuning:
        self.likenesses = likenesses
        return super().tune(*args, **kwargs)


@needs_models
def test_the_face_counts_more_where_the_tuner_asks_for_it(large_pipe: PTIPipeline, astronaut: Image.Image) -> None:
    large_pipe.aligns_faces = True
    photograph = large_pipe.prepare(astronaut)
    for weighs_faces in (True, False):
        tuner = Watched(PivotalTunerConfig(num_steps=1, weighs_faces=weighs_faces))
        Measurements(large_pipe)(Method("mine", methods()[0].projector, tuner), photograph, ["reconstruction"])
        (likeness,) = tuner.likenesses
        assert (likeness is not None) == weighs_faces
        if likeness is not None:
            # In the middle of the picture there is a face, and in its corner there is none.
            assert likeness.importance[0, 0, 140, 128] > 0.9 > 0.4 > likeness.importance[0, 0, 0, 0]


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_fid_says_what_it_needs(large_pipe: PTIPipeline, photos: Path) -> None:
    with pytest.raises(MissingDependencyError, match="FID needs torch-fidelity and the weights it downloads"):
        Measurements(large_pipe).check(["fid"])


def test_similarity_is_the_cosine() -> None:
    assert similarity(np.array([3.0, 0]), np.array([2.0, 2])) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(similarity(np.full(3, np.nan), np.ones(3)))
