"""Edits that are measured, on the real weights and a photograph of three, at few steps."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.app.settings import Settings
from pti_hub.app.studio import Studio
from pti_hub.app.visits import Visit
from pti_hub.images import encode_image

WHO = "Face 1"


@pytest.fixture(scope="module")
def real_studio(real_pipe: PTIPipeline) -> Iterator[Studio]:
    """A studio on the real weights."""
    before = real_pipe.tuner
    real_pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=6, check_interval=2))
    yield Studio(real_pipe, Settings())
    real_pipe.tuner = before


@pytest.fixture(scope="module")
def met(real_studio: Studio, group: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """A visit with the second face of three."""
    path = tmp_path_factory.mktemp("photo") / "group.png"
    group.save(path)
    visit = real_studio.visits.of("a")
    real_studio.open(visit, path, path.name)
    assert [item for item in real_studio.learn(visit, [1]) if isinstance(item, str)] == [WHO]
    return visit


@pytest.mark.parametrize("lines", [["glasses"], ["smile=1", "age=1.5", "glasses=1"]])
def test_the_file_is_what_a_call_makes(
    real_studio: Studio, met: Visit, group: Image.Image, fetch: Callable[[Studio, str], bytes], lines: list[str]
) -> None:
    met.lines[WHO] = lines
    file = fetch(real_studio, real_studio.compare(met, WHO).file)
    person = met.portraits[WHO].personalization
    called = real_studio.pipe(person, edit=lines, photograph=group).photographs[0]
    assert file == encode_image(called, ".png")


def test_a_slider_that_moves_shows_what_its_release_will(
    real_studio: Studio, met: Visit, fetch: Callable[[Studio, str], bytes]
) -> None:
    def look(address: str) -> np.ndarray:
        picture = Image.open(io.BytesIO(fetch(real_studio, address)))
        return np.asarray(picture.resize((256, 256), Image.Resampling.BOX)).astype(int)

    met.lines[WHO] = ["smile=1", "age=-0.5"]
    before = look(real_studio.compare(met, WHO).face)
    # The last edit, and one that others follow.
    for moved in (["smile=1", "age=1"], ["smile=0.4", "age=1"]):
        met.lines[WHO] = moved
        draft = look(real_studio.preview(met, WHO))
        after = look(real_studio.compare(met, WHO).face)
        assert np.abs(draft - after).mean() < 0.7 * np.abs(before - after).mean()
        before = after


def test_only_what_changed_is_measured_while_a_slider_moves(
    real_studio: Studio, met: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    met.lines[WHO] = ["smile=1", "hair_light=1", "age=1"]
    real_studio.compare(met, WHO)
    met.lines[WHO] = ["smile=1", "hair_light=1.1", "age=1"]
    measured: list[str] = []

    def measure(components: object, weights: object, ws: object, direction: object, *rest: object) -> float:
        measured.append(direction.name)  # type: ignore[attr-defined]
        return 0.0

    monkeypatch.setattr("pti_hub.pipelines.rendering.measure", measure)
    real_studio.preview(met, WHO)
    assert set(measured) <= {"hair_light"}
    assert len(measured) <= 2
