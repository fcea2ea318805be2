"""How often drift is raised although nothing has changed, and how soon where something has.

`python benchmarks/drift.py` prints, for each shipped distribution: the studies that it takes, how many looks of 20,000
at that many unchanged studies pass the threshold, and how many simulated years of a look a day at the last 28 days have
any alarm. Then the same with the minimum left out, and with three images a study that all say the same.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.bundle import read_bundles
from inference.drift import THRESHOLD, Distribution, compare, load_reference

BUNDLES = Path(__file__).resolve().parent.parent / "models" / "bundles"
LOOKS, YEARS, DAYS, WINDOW = 20_000, 200, 365, 28
FloatArray = NDArray[np.float64]


def main() -> int:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(f"{'distribution':<44}{'studies':>8}{'looks':>8}{'years':>7}{'a fifth':>9}{'at 60':>7}{'alike':>7}")
    for name, reference in _distributions():
        needed = compare(reference, [0.0], independent=0).needed
        if needed is None:
            print(f"{name:<44}{'never':>8}")
            continue
        looks = _share_of_looks(rng, reference, needed, LOOKS)
        years = _share_of_years(rng, reference, needed)
        fewer = _share_of_looks(rng, reference, 60, LOOKS // 10)
        alike = _share_of_looks(rng, reference, needed, LOOKS // 10, images=3)
        shifted = _share_of_looks(rng, reference, 2 * needed, LOOKS // 10, moved=0.2)
        print(f"{name:<44}{needed:>8}{looks:>8.2%}{years:>7.1%}{shifted:>9.1%}{fewer:>7.1%}{alike:>7.2%}")
    return 0


def _distributions() -> list[tuple[str, Distribution]]:
    found = []
    for bundle in read_bundles(BUNDLES):
        reference = load_reference(bundle)
        if reference is None:
            continue
        found += [(f"scores of {', '.join(score.regions)}", score.logits) for score in reference.scores]
        if reference.scope_distance is not None:
            found.append(("distance from the scope", reference.scope_distance))
    return found


def _draw(rng: np.random.Generator, reference: Distribution, shape: tuple[int, ...]) -> NDArray[np.int64]:
    return rng.integers(0, len(reference.shares), shape)


def _estimate(rng: np.random.Generator, reference: Distribution) -> Distribution:
    """Return the reference as another pool of that size from the same source would have given it."""
    bins = len(reference.shares)
    shares = rng.multinomial(reference.count, np.full(bins, 1 / bins)) / reference.count
    return Distribution(edges=tuple(range(1, bins)), shares=tuple(shares.tolist()), count=reference.count)


def _share_of_looks(
    rng: np.random.Generator, reference: Distribution, studies: int, looks: int, *, images: int = 1, moved: float = 0.0
) -> float:
    raised = 0
    for _ in range(looks):
        then = _estimate(rng, reference)
        bins = _draw(rng, reference, (studies,))
        bins = np.where(rng.random(studies) < moved, len(reference.shares) - 1, bins)
        values = np.repeat(bins + 0.5, images)
        raised += compare(then, values, independent=studies).psi > THRESHOLD
    return raised / looks


def _share_of_years(rng: np.random.Generator, reference: Distribution, needed: int) -> float:
    """Return the share of years with an alarm at a look a day, at just enough studies in four weeks."""
    raised = 0
    a_day = int(np.ceil(needed / WINDOW))
    for _ in range(YEARS):
        then = _estimate(rng, reference)
        days = _draw(rng, reference, (DAYS + WINDOW, a_day)) + 0.5
        windows = (days[day : day + WINDOW].ravel() for day in range(DAYS))
        raised += any(compare(then, one, independent=one.size).has_drifted for one in windows)
    return raised / YEARS


if __name__ == "__main__":
    sys.exit(main())
