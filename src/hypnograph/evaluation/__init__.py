"""Numbers about hypnograms: of two scorers, of one night, of many nights."""

from hypnograph.evaluation.agreement import Agreement, agreement, confusion_matrix
from hypnograph.evaluation.pairing import align_predicted, pair_files
from hypnograph.evaluation.sleep_statistics import SleepStatistics, sleep_statistics
from hypnograph.evaluation.tables import Evaluation, evaluate_nights

__all__ = [
    "Agreement",
    "Evaluation",
    "SleepStatistics",
    "agreement",
    "align_predicted",
    "confusion_matrix",
    "evaluate_nights",
    "pair_files",
    "sleep_statistics",
]
