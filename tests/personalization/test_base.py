"""Which generator was tuned."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pti_hub.personalization import Base

OPTIONAL = [{}, {"repo": "me/base"}, {"repo": "me/base", "revision": "0123abcd"}]


@pytest.mark.parametrize("optional", OPTIONAL)
def test_a_base_survives_json(optional: dict[str, str]) -> None:
    base = Base("tiny", "ab12", **optional)
    content = base.to_json()
    # What is not known is not there.
    assert content == {"name": "tiny", "fingerprint": "ab12", **optional}
    assert Base.from_json(json.loads(json.dumps(content))) == base


@pytest.mark.parametrize("missing", ["name", "fingerprint"])
def test_a_base_without_name_or_fingerprint(missing: str) -> None:
    content = {key: value for key, value in Base("tiny", "ab12").to_json().items() if key != missing}
    with pytest.raises(KeyError, match=missing):
        Base.from_json(content)


def test_a_base_is_found_at_its_repository_or_else_by_its_name() -> None:
    assert [Base("tiny", "ab12", **optional).address for optional in OPTIONAL] == ["tiny", "me/base", "me/base"]


def test_a_base_can_not_be_changed() -> None:
    base = Base("tiny", "ab12")
    for field in dataclasses.fields(base):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(base, field.name, "other")
    assert base == Base("tiny", "ab12") != Base("tiny", "cd34")
