"""From photographs to rows of results, on one or several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pti_hub.errors import InputError
from pti_hub.evaluation.data import Photograph
from pti_hub.evaluation.measure import Measurements, thumbnail
from pti_hub.evaluation.methods import Method
from pti_hub.evaluation.results import Results
from pti_hub.optim import process_state


def evaluate(
    photographs: Iterable[Photograph],
    methods: Sequence[tuple[Method, Sequence[str]]],
    measurements: Measurements,
    results: Results,
    align: bool = True,
) -> None:
    """Measure methods on photographs, except for what the results already hold.

    Several processes divide the photographs among themselves.

    Args:
        photographs: Photographs, for example from `open_photographs`.
        methods: Methods, each with the groups of numbers to measure.
        measurements: Measures one method on one photograph.
        results: Receives each row as soon as it is measured.
        align: Whether to align faces as in FFHQ, unless they are aligned already.

    Raises:
        InputError: A group is unknown, or the pipeline lacks something that a group needs.
        SaveError: The disk is full, or the folder is not writable.
    """
    for _, groups in methods:
        measurements.check(groups)
    for i, photograph in enumerate(photographs):
        if i % process_state().num_processes != process_state().process_index:
            continue
        missing = [(m, rest) for m, groups in methods if (rest := results.missing(photograph.name, m.name, groups))]
        if not missing:
            continue
        try:
            if photograph.image is None:
                raise InputError(photograph.problem)
            aligned = measurements.pipe.prepare(photograph.image, align="auto" if align else False)
            for method, groups in missing:
                measured = measurements(method, aligned, groups)
                if measured.pictures:
                    # The row is written last: without it, everything is measured again.
                    results.add_pictures(photograph.name, "photograph", {"photograph": thumbnail(aligned)})
                    results.add_pictures(photograph.name, method.name, measured.pictures)
                results.add(photograph.name, method.name, groups, measured.values)
        except InputError as error:
            # The next call tries again, in case the photograph has been repaired.
            results.skip(photograph.name, str(error))
    process_state().wait_for_everyone()
