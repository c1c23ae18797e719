"""Judge an estimate: against a reference (`reference.py`), or without one, from what it was made of."""

from hypersharp.evaluate.agreement import Agreement, consistency
from hypersharp.evaluate.guide import GuideIndices, check_guide, guide_indices
from hypersharp.evaluate.reduced import NotRun, Reduced, reduced_test
from hypersharp.evaluate.reference import check_pair, error_map, evaluate, peaks_of

__all__ = [
    "Agreement",
    "GuideIndices",
    "NotRun",
    "Reduced",
    "check_guide",
    "check_pair",
    "consistency",
    "error_map",
    "evaluate",
    "guide_indices",
    "peaks_of",
    "reduced_test",
]
