"""Write probabilities: never as a certainty, and never so that the rounding denies what was decided."""

from inference.types import FracturePrediction

_MOST_DECIMALS = 6


def format_probability(probability: float, *, decimals: int = 2) -> str:
    """Write a probability with two decimals, and never as a certainty."""
    least = 10**-decimals
    if probability < least / 2:
        return f"<{least:.{decimals}f}"
    return f">{1 - least:.{decimals}f}" if probability >= 1 - least / 2 else f"{probability:.{decimals}f}"


def format_percentage(probability: float) -> str:
    """Write a probability as a percentage, for lines that have little room, and never as a certainty."""
    if probability < 0.005:
        return "<1%"
    return ">99%" if probability >= 0.995 else f"{probability:.0%}"


def format_fracture_probability(fracture: FracturePrediction) -> str:
    """Write the probability of a fracture, as finely as it takes to tell it from the operating points it is below."""
    return format_probability(fracture.probability, decimals=_count_decimals(fracture))


def format_operating_points(fracture: FracturePrediction) -> tuple[str, str]:
    """Write the sensitive and the specific operating point as finely as the probability beside them is written."""
    decimals = _count_decimals(fracture)
    return f"{fracture.sensitive_threshold:.{decimals}f}", f"{fracture.specific_threshold:.{decimals}f}"


def _count_decimals(fracture: FracturePrediction) -> int:
    """Return how many decimals it takes: 0.498 is "uncertain" beside "fracture from 0.500", 0.50 beside 0.50 is not."""
    above = [
        point for point in (fracture.sensitive_threshold, fracture.specific_threshold) if fracture.probability < point
    ]
    told = (
        decimals
        for decimals in range(2, _MOST_DECIMALS)
        if all(round(fracture.probability, decimals) < round(point, decimals) for point in above)
    )
    return next(told, _MOST_DECIMALS)
