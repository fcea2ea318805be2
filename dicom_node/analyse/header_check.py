"""The header against the pixels: what is said, and which model is asked, where they name different regions.

Of the side of the body the pixels of one limb say nothing that a model here has learned, so that a wrong Laterality
cannot be seen in them. What can be checked is whether the header contradicts itself about the side.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from pydicom import Dataset

from dicom_node.body_part import contradicts, name_region, name_several
from dicom_node.header import code, items, texts
from dicom_node.settings import HeaderPolicy
from inference.phrases import Phrase
from inference.types import Decision, RadiographAnalysis, Task

_SIDES = {"L": "left", "R": "right"}
_WORDS = {"LEFT": "left", "LT": "left", "RIGHT": "right", "RT": "right"}


def analyse_by_policy(
    header: Dataset, policy: HeaderPolicy, analyse: Callable[[str | None], RadiographAnalysis]
) -> RadiographAnalysis:
    """Return the analysis that the policy asks for, flagged wherever header and pixels disagree.

    `analyse` asks the models, with a region in place of the one that stage 1 names or with None.
    """
    analysis = analyse(None)
    seen = analysis.region
    body_part = contradicts(header, seen.region) if seen else None
    if seen and body_part:
        said = {"said": body_part, "seen": seen.region}
        return _settle(analysis, said, policy, name_region(header), analyse)
    region = name_region(header)
    in_doubt = seen is None or (seen.in_doubt and seen.region != region)
    if policy is not HeaderPolicy.TRUST_HEADER or region is None or not in_doubt:
        return analysis
    told = analyse(region)
    if told.region is None:  # outside scope, whatever the region
        return told
    doubtful = Phrase(
        "The image does not show the region beyond doubt: taken as {region}, as the header says.", region=region
    )
    return _flag(told, doubtful)


def _settle(
    analysis: RadiographAnalysis,
    said: Mapping[str, str],
    policy: HeaderPolicy,
    region: str | None,
    analyse: Callable[[str | None], RadiographAnalysis],
) -> RadiographAnalysis:
    """Settle a disagreement of what is said and what is seen; `region` is the one of the header, if it names one."""
    if policy is HeaderPolicy.ABSTAIN:
        return _abstain(
            analysis,
            Phrase("The header says {said}, but the image looks like {seen}: not analysed, as configured", **said),
        )
    if policy is HeaderPolicy.TRUST_PIXELS:
        return _flag(analysis, Phrase("The header says {said}, but the image looks like {seen}.", **said))
    if region is None:
        unnamed = Phrase(
            "The header says {said}, but the image looks like {seen}: not analysed, for the header is trusted but names"
            " no single region",
            **said,
        )
        return _abstain(analysis, unnamed)
    taken = Phrase(
        "The header says {said}, but the image looks like {seen}: taken as {region}, for the header is trusted.",
        region=region,
        **said,
    )
    return _flag(analyse(region), taken)


def _flag(analysis: RadiographAnalysis, remark: str) -> RadiographAnalysis:
    return replace(analysis, flags=(*analysis.flags, remark))


def _abstain(analysis: RadiographAnalysis, reason: str) -> RadiographAnalysis:
    """Keep what stage 1 saw and nothing else."""
    return RadiographAnalysis(
        decision=Decision.NOT_ANALYSED,
        reason=reason,
        region=analysis.region,
        models=tuple(model for model in analysis.models if model.task is Task.REGION),
    )


def describe_laterality_conflict(header: Dataset) -> str | None:
    """Return a remark where the header gives two sides for one image, else None.

    Compared are Laterality of the series (PS3.3 C.7.3.1), Image Laterality (C.8.11.2), Frame Laterality (C.7.6.16.2.8),
    and the words left, right, LT and RT in Series Description and Protocol Name where only one side is named.
    """
    named = dict(_name_sides(header))
    if len(set(named.values())) < 2:
        return None
    listed = ", ".join(f"{side} in {where}" for where, side in named.items())
    return Phrase("The header contradicts itself about the side: {listed}. The pixels do not tell it.", listed=listed)


def describe_several_parts(header: Dataset) -> str | None:
    """Return a remark where the header says that one image shows several limbs or regions, else None.

    Image Laterality B is "both left and right" (PS3.3 C.8.11.2). Exposures on Plate (C.8.1.2) says nothing of it: it
    counts the exposures of the plate's life.
    """
    shown = [", ".join(name_several(header))]
    shown += ["both sides"] if any(side == "B" for _, side in _coded_sides(header)) else []
    said = " and ".join(filter(None, shown))
    if not said:
        return None
    return Phrase("The header says that the image shows {said}: the answer is one for the whole image.", said=said)


def describe_burned_in_annotation(header: Dataset) -> str | None:
    """Return a remark where the header says that the image shows who the patient is and when it was taken, else None.

    That is what Burned In Annotation means (PS3.3 C.7.6.1); marks of the side are none.
    """
    if code(header, "BurnedInAnnotation") != "YES":
        return None
    return Phrase("The header says that annotation is burned into the image: a hot area on it is no finding.")


def _name_sides(header: Dataset) -> Iterator[tuple[str, str]]:
    for keyword, coded in _coded_sides(header):
        if side := _SIDES.get(coded):
            yield keyword, side
    for keyword in ("SeriesDescription", "ProtocolName"):
        words = re.findall("[A-Z]+", " ".join(texts(header, keyword)).upper())
        sides = {_WORDS[word] for word in words if word in _WORDS}
        if len(sides) == 1:
            yield keyword, sides.pop()


def _coded_sides(header: Dataset) -> Iterator[tuple[str, str]]:
    groups = items(header, "SharedFunctionalGroupsSequence")
    frames = [frame for group in groups for frame in items(group, "FrameAnatomySequence")]
    for ds, keyword in [
        (header, "Laterality"),
        (header, "ImageLaterality"),
        *((one, "FrameLaterality") for one in frames),
    ]:
        yield keyword, code(ds, keyword)
