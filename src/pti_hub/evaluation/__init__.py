"""The paper's measurements for any generator, method and data set."""

from pti_hub.evaluation.compare import Comparison
from pti_hub.evaluation.data import Photograph, open_photographs
from pti_hub.evaluation.figures import draw
from pti_hub.evaluation.measure import METRICS, Measurements
from pti_hub.evaluation.methods import METHODS, SCHEDULES, Method, Schedule, named_methods
from pti_hub.evaluation.report import write_report
from pti_hub.evaluation.results import Results
from pti_hub.evaluation.run import evaluate
from pti_hub.evaluation.samples import SampleDistance
from pti_hub.evaluation.tables import EXHIBITS, PROTOCOLS, Exhibit, Table, exhibits, exhibits_of

__all__ = [
    "EXHIBITS",
    "METHODS",
    "METRICS",
    "PROTOCOLS",
    "SCHEDULES",
    "Comparison",
    "Exhibit",
    "Measurements",
    "Method",
    "Photograph",
    "Results",
    "SampleDistance",
    "Schedule",
    "Table",
    "draw",
    "evaluate",
    "exhibits",
    "exhibits_of",
    "named_methods",
    "open_photographs",
    "write_report",
]
