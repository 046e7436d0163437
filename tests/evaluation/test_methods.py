"""Methods by name, and their schedules."""

from __future__ import annotations

import pytest
from support.needs import needs_evaluation

from pti_hub import InputError, PTIPipeline
from pti_hub.evaluation import METHODS, Schedule, named_methods

pytestmark = needs_evaluation


def test_methods_by_name(pipe: PTIPipeline) -> None:
    made = named_methods(["sg2", "pti", "sg2_wplus"], pipe, Schedule())
    assert [method.name for method in made] == ["sg2", "pti", "sg2_wplus"]
    assert made[0].projector.config == made[1].projector.config
    assert made[0].tuner is None
    assert made[1].tuner is not None
    assert made[2].projector.config.num_steps == 2100  # section 4.5
    with pytest.raises(InputError, match=f"no method is named restyle; there are {', '.join(METHODS)}"):
        named_methods(["pti", "restyle"], pipe)
    with pytest.raises(InputError, match="'tiny' has no encoder"):
        named_methods(["e4e"], pipe)
    far, near = named_methods(["pti_alpha60", "pti_alpha2"], pipe)
    assert far.tuner is not None
    assert near.tuner is not None
    assert (far.tuner.config.locality_alpha, near.tuner.config.locality_alpha) == (60, 2)
    assert far.tuner.config.locality_weight == 0.1
    own, official = named_methods(["pipeline", "official"], pipe, Schedule.short())
    assert (own.projector, own.tuner) == (pipe.projector, pipe.tuner)
    assert official.projector.config.num_steps == 450


def test_a_schedule_can_be_changed() -> None:
    changed = Schedule().changed(["w_plus.num_steps=300", "locality.locality_weight=0.4", "w.early=true"])
    assert (changed.w_plus.num_steps, changed.locality.locality_weight, changed.w.early) == (300, 0.4, True)
    assert changed.tuning == Schedule().tuning
    for setting, message in (
        ("wplus.num_steps=3", "expected PART.NAME=VALUE, parts: w, w_plus, encoder, tuning, locality"),
        ("tuning.steps=3", "of tuning: num_steps, learning_rate"),
        ("tuning.num_steps=many", "num_steps='many'; expected a whole number above zero"),
        ("tuning.num_steps=1.5", "num_steps=1.5; expected a whole number above zero"),
        ("w", "'w' sets nothing"),
    ):
        with pytest.raises(InputError, match=message):
            Schedule().changed([setting])
