"""The paper's measurements for any generator, method and data set."""

from pti_hub.evaluation.data import Photograph, open_photographs
from pti_hub.evaluation.measure import Measurements, measure
from pti_hub.evaluation.methods import METHODS, Method, named_methods
from pti_hub.evaluation.results import Results
from pti_hub.evaluation.tables import TABLES, Table

__all__ = [
    "METHODS",
    "TABLES",
    "Measurements",
    "Method",
    "Photograph",
    "Results",
    "Table",
    "measure",
    "named_methods",
    "open_photographs",
]
