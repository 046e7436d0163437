"""Photographs → rows of results, shared out over processes."""

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
    """Measure methods on photographs; what is in the results already is left out.

    Each of several processes takes its share of the photographs.

    Args:
        photographs: Of `open_photographs`.
        methods: Each with the groups of numbers to measure of it.
        measurements: What measures, with its pipeline.
        results: Where the rows go, as each is done.
        align: Whether to bring faces to FFHQ's alignment where they are not.

    Raises:
        InputError: There is no such group, or the pipeline lacks what it takes.
        SaveError: The disk is full, or the place not writable.
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
                    # The row is the last thing written: without it all is done again.
                    results.add_pictures(photograph.name, "photograph", {"photograph": thumbnail(aligned)})
                    results.add_pictures(photograph.name, method.name, measured.pictures)
                results.add(photograph.name, method.name, groups, measured.values)
        except InputError as error:
            # It is tried again by the next call, in case it was mended.
            results.skip(photograph.name, str(error))
    process_state().wait_for_everyone()
