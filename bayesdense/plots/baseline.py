"""The paper's estimate beside a fit: of the dataset that was fitted, where it is at hand."""

import logging
from functools import cache
from typing import cast

from bayesdense.catalog import dataset_names
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError, DatasetError
from bayesdense.point import PointEstimate, point_estimate
from bayesdense.point.options import DEFAULT_PERMUTATIONS
from bayesdense.point.sizes import Params
from bayesdense.results import Fit
from bayesdense.wording import printable

_LOG = logging.getLogger(__name__)
#: Dataset of the paper's LLMs, and that of the densities that the paper drew.
_SCORES, PUBLISHED = "densing", "densing-published"


@cache
def _shipped(name: str) -> Dataset:
    """Read a dataset that ships with the package, once for all figures."""
    return load_dataset(name)


def fitted_dataset(fit: Fit, dataset: Dataset | None = None) -> Dataset | None:
    """Return the dataset that was fitted: the one given, or a shipped one of its name and digest.

    Raises
    ------
    DatasetError
        The dataset given is not the one that was fitted: its digest differs.
    """
    about = fit.dataset_info
    if dataset is not None:
        if dataset.digest != about["digest"]:
            raise DatasetError(
                dataset.name,
                [
                    f"digest {dataset.digest[:12]}, the fit is of {printable(about['name'])} with "
                    f"digest {about['digest'][:12]}: give the dataset that was fitted"
                ],
            )
        return dataset
    if about["name"] not in dataset_names():
        return None
    shipped = _shipped(about["name"])
    return shipped if shipped.digest == about["digest"] else None


def paper_records(fit: Fit, dataset: Dataset | None = None) -> PointEstimate | None:
    """Return the estimate whose records and line stand beside a fit's trend.

    Of `densing` they are those that the paper published, of any other dataset what its estimator
    gives on that dataset; None where the dataset is not at hand or the estimator cannot serve it.
    """
    fitted = fitted_dataset(fit, dataset)
    if fitted is None:
        return None
    if fitted.name == _SCORES and fitted.digest == _shipped(_SCORES).digest:
        fitted = _shipped(PUBLISHED)
    try:
        return estimate_of(fit, fitted, n_permutations=1)  # the null is not drawn
    except BayesdenseError as error:
        _LOG.warning("no records beside the trend: %s", error)
        return None


def estimate_of(
    fit: Fit, dataset: Dataset, *, n_permutations: int = DEFAULT_PERMUTATIONS
) -> PointEstimate:
    """Estimate as the paper does, with the fit's D0 and count of parameters."""
    options = fit.spec.options
    return point_estimate(
        dataset,
        reference_tokens=options.reference_tokens,
        params=cast("Params", options.params),
        n_permutations=n_permutations,
    )
