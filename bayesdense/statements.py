"""Numbers as text with honest digits, and the sentences that a summary says. Pure text."""

import math
from dataclasses import dataclass
from typing import Final

MAX_DIGITS: Final = 3
FAR: Final = 10.0  # times beyond the reference runs from which on the headline says so
_NEAR_OVERFLOW: Final = 1e300
_PREFIXES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_CONVENTIONS: Final = {
    "total": "total parameters",
    "active": "active parameters",
    "non_embedding": "non-embedding parameters",
}
_LEARNT_FROM: Final = {
    "joint": "Loss law and score map are learnt from reference data and the LLMs' scores together.",
    "cut": "Loss law and score map are learnt from the reference data alone.",
}


def format_number(value: float, mcse: float = 0.0, digits: int = MAX_DIGITS) -> str:
    """Write a number with no more digits than its Monte Carlo error supports.

    Parameters
    ----------
    value
        A finite number.
    mcse
        Its Monte Carlo standard error; the last digit printed stands for at least as much. Zero
        or nan: no error is known, `digits` decides.
    digits
        Significant digits at most; one is always printed.

    Examples
    --------
    >>> format_number(5.1234, 0.03), format_number(5.1234, 0.3), format_number(1064.2)
    ('5.1', '5', '1,060')
    """
    if value == 0.0:
        return "0"
    place = _last_place(value, mcse, digits)
    if abs(value) >= _NEAR_OVERFLOW:  # rounded up, it may be no float any more
        return f"{value:.{_magnitude(value) - place}e}"
    rounded = round(value, -place)
    if _magnitude(rounded) > _magnitude(value):  # 9.996 became 10.00: one digit too many
        place = _last_place(rounded, mcse, digits)
    if not 1e-4 <= abs(rounded) < 1e7:
        return f"{rounded:.{max(_magnitude(rounded) - place, 0)}e}"
    return f"{rounded:,.{max(-place, 0)}f}"


def signed(shift: float) -> str:
    """Write a shift with its sign, to two decimals; none is -0.00."""
    return f"{round(shift, 2) + 0.0:+.2f}"


def format_probability(value: float, mcse: float = 0.0) -> str:
    """Write a probability with at most three decimals; never 0 or 1, which draws cannot show.

    Examples
    --------
    >>> format_probability(0.9342, 0.004), format_probability(1.0, 0.0008)
    ('0.93', '> 0.999')
    """
    decimals = MAX_DIGITS
    if mcse > 0.0:
        decimals = min(max(-math.ceil(math.log10(mcse)), 1), MAX_DIGITS)
    step = 10.0**-decimals
    text = f"{value:.{decimals}f}"
    if float(text) >= 1.0:
        return f"> {1.0 - step:.{decimals}f}"
    return f"< {step:.{decimals}f}" if float(text) <= 0.0 else text


def format_count(value: float, mcse: float = 0.0) -> str:
    """Write a number of parameters or tokens as people say it.

    Examples
    --------
    >>> format_count(7.24e9), format_count(5e12), format_count(828_225_024)
    ('7.24B', '5T', '828M')
    """
    larger: tuple[float, str] | None = None
    for size, prefix in _PREFIXES:
        if value >= size * 0.9995:
            text = format_number(value / size, mcse / size)
            if larger is not None and text.startswith("1,000"):  # 996M, known to 10M: 1B
                size, prefix = larger
                text = format_number(value / size, mcse / size)
            return plain(text) + prefix
        larger = size, prefix
    return plain(format_number(value, mcse))


@dataclass(frozen=True, slots=True)
class Times:
    """Printed median and interval of a doubling or halving time, None where there is none."""

    median: str | None
    lower: str | None
    upper: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a headline has to say about its own meaning.

    Parameters
    ----------
    params
        The convention by which the LLMs' parameters are counted.
    reference_tokens, reference_params
        D0, and the convention by which the reference runs count; None without reference runs.
    feedback
        Whether the LLMs' scores inform law and map ("joint") or not ("cut"); None without either.
    n_llms, n_lower_bound_only, n_upper_bound_only, n_no_bound
        Numbers of LLMs, of those whose scores bound their size from below or from above only, and
        of those where they do neither.
    tokens_beyond
        D0 over the largest training set of the reference runs, 0 without any.
    n_far, largest_reference
        Number of LLMs whose effective size is more than 10 times the largest reference run, and
        that run's parameters.
    """

    params: str
    reference_tokens: float | None
    reference_params: str | None
    feedback: str | None
    n_llms: int
    n_lower_bound_only: int
    n_upper_bound_only: int
    n_no_bound: int
    tokens_beyond: float
    n_far: int
    largest_reference: float


def time_sentence(*, residual: str, base_only: bool, doubling: Times, halving: Times) -> str:
    """Say the doubling time, or in words that there is none (without the final stop).

    Parameters
    ----------
    residual, base_only
        The model's residual part and whether only base LLMs entered: of what the trend speaks.
    doubling, halving
        In months, of one posterior.
    """
    subject = f"The density of {_reading(residual, base_only)}"
    if doubling.upper is not None:
        return f"{subject} doubles every {_interval(doubling)}"
    if doubling.lower is not None:
        return f"{subject} {_not_established(doubling.lower, halving.lower)}"
    if halving.upper is not None:
        return f"{subject} does not grow: it halves every {_interval(halving)}"
    if halving.lower is not None:
        return (
            f"{subject} does not grow: it halves in at least {halving.lower} months, if at all "
            "(95 % interval)"
        )
    return f"{subject} does not change"


def halving_sentence(halving: Times) -> str:
    """Say the halving time on its own (with the final stop)."""
    if halving.upper is not None:
        return f"The density halves every {_interval(halving)}."
    return f"The density halves in at least {halving.lower} months, if at all (95 % interval)."


def chance_clause(posterior: str, prior: str | None) -> str:
    """P(growing), beside what it was before the data."""
    before = f" ({prior} before the data)" if prior is not None else ""
    return f"P(growing) {posterior}{before}"


def prior_text(probability: float | None) -> str | None:
    """Prior probability in two digits, as a model's author would say it; None if unknown."""
    return None if probability is None else plain(format_number(probability, digits=2))


def scope_sentences(scope: Scope) -> list[str]:
    """Say what density means here, how many sizes are bounds, how far the law is stretched."""
    found = (
        _definition(scope),
        _mismatch(scope),
        _LEARNT_FROM.get(scope.feedback or "", ""),
        _bounds(scope),
        _extrapolation(scope),
    )
    return [sentence for sentence in found if sentence]


def _reading(residual: str, base_only: bool) -> str:
    """Name what the trend is the trend of."""
    people = "base LLM" if base_only else "LLM"
    if residual == "composed":
        return f"the frontier of an average {people} family"
    return f"a typical new {people}"


def _definition(scope: Scope) -> str:
    """Name D0 and the convention by which parameters are counted, or that neither was used."""
    if scope.reference_tokens is None:
        return "Densities are taken as the dataset gives them."
    convention = _CONVENTIONS.get(scope.params, scope.params)
    return (
        f"Density is effective size over {convention}, the reference LLM trained on "
        f"D0 = {format_count(scope.reference_tokens)} tokens."
    )


def _mismatch(scope: Scope) -> str:
    """Name a difference between how reference runs and LLMs count their parameters."""
    if scope.reference_params is None or scope.reference_params == scope.params:
        return ""
    theirs = _CONVENTIONS.get(scope.reference_params, f'parameters "{scope.reference_params}"')
    ours = _CONVENTIONS.get(scope.params, scope.params)
    return f"The reference runs count {theirs}, the LLMs {ours}: the two yardsticks differ."


def _bounds(scope: Scope) -> str:
    """Count the LLMs whose scores bound their size from one side only, or from none."""
    sides = [
        f"{count} of {scope.n_llms} LLMs {_has_only(side, count)} on their size: {why}."
        for side, count, why in (
            ("a lower", scope.n_lower_bound_only, "no size is too large for their scores"),
            ("an upper", scope.n_upper_bound_only, "no size is too small for their scores"),
        )
        if count
    ]
    if count := scope.n_no_bound:
        have = "has" if count == 1 else "have"
        sides.append(f"{count} of {scope.n_llms} LLMs {have} none: any size fits their scores.")
    return " ".join(sides)


def _has_only(side: str, count: int) -> str:
    """Say how many bounds are had: "has only a lower bound", "have only lower bounds"."""
    if count == 1:
        return f"has only {side} bound"
    return f"have only {side.split()[1]} bounds"


def _extrapolation(scope: Scope) -> str:
    """Say by how much D0 and the sizes lie outside the reference runs, if by more than 10 times."""
    parts = []
    if scope.tokens_beyond > FAR:
        parts.append(f"D0 is {format_number(scope.tokens_beyond)} times their longest training")
    if scope.n_far:
        parts.append(
            f"{scope.n_far} of {scope.n_llms} effective sizes "
            f"{'is' if scope.n_far == 1 else 'are'} more than {FAR:.0f} times their "
            f"largest LLM ({format_count(scope.largest_reference)} parameters)"
        )
    return f"Extrapolated far beyond the reference runs: {' and '.join(parts)}." if parts else ""


def _interval(times: Times) -> str:
    """Median and interval in months."""
    return f"{times.median} months (95 % interval {times.lower} to {times.upper})"


def _not_established(doubling: str, halving: str | None) -> str:
    """Say an interval of growth that holds zero."""
    start = f"doubles in at least {doubling} months"
    other = f", or halves in at least {halving} months" if halving is not None else ", if at all"
    return f"{start}{other} (95 % interval): growth is not established"


def _last_place(value: float, mcse: float, digits: int) -> int:
    """Power of ten of the last digit worth printing."""
    first = _magnitude(value)
    place = first - digits + 1
    if mcse > 0.0 and math.isfinite(mcse):
        place = max(place, math.ceil(math.log10(mcse)))
    return min(place, first)


def _magnitude(value: float) -> int:
    """Power of ten of the first digit."""
    return math.floor(math.log10(abs(value))) if value else 0


def plain(text: str) -> str:
    """Drop zeros after the decimal point, which a count does not need: 5.00 -> 5."""
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
