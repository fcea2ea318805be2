"""Header against pixels: each policy does what the configuration says of it, and nothing disagrees in silence."""

from pathlib import Path

import numpy as np
import pytest
from builders import build_cr, build_dx, phantom, write_part10
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_node.analyse.analysis import analyse_instance
from dicom_node.analyse.header_check import (
    analyse_by_policy,
    describe_burned_in_annotation,
    describe_laterality_conflict,
    describe_several_parts,
)
from dicom_node.assemble.study import read_instance
from dicom_node.body_part import name_region
from dicom_node.settings import HeaderPolicy
from inference.bundle import MANIFEST
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles
from inference.types import Decision, ModelIdentity, RadiographAnalysis, RegionPrediction, Task

REGION, FRACTURE = (
    ModelIdentity(name=task, version="1.0.0", task=task, digest="0" * 64) for task in (Task.REGION, Task.FRACTURE)
)
DOUBT = "The image does not show the region beyond doubt: taken as KNEE, as the header says."


class Models:
    """See a hand, or what they are told to see, and keep what they were asked."""

    def __init__(self, seen: str | None = "HAND", confidence: float = 0.9) -> None:
        self._seen = seen and RegionPrediction(region=seen, confidence=confidence, probabilities={seen: confidence})
        self.asked: list[str | None] = []

    def __call__(self, region: str | None) -> RadiographAnalysis:
        self.asked.append(region)
        if not self._seen:
            return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason="outside scope", models=(REGION,))
        return RadiographAnalysis(
            decision=Decision.FRACTURE, region=self._seen, models=(REGION, FRACTURE), flags=("A remark.",)
        )


def analyse(body_part: str, policy: HeaderPolicy, models: Models) -> RadiographAnalysis:
    return analyse_by_policy(build_cr(BodyPartExamined=body_part), policy, models)


@pytest.mark.parametrize("policy", HeaderPolicy)
def test_where_header_and_pixels_agree_the_policy_changes_nothing(policy: HeaderPolicy) -> None:
    for body_part in ("HAND", "WRIST", "", "EXTREMITY", "UPPER LIMB"):
        models = Models()
        assert analyse(body_part, policy, models).flags == ("A remark.",)
        assert models.asked == [None]


def test_trusting_the_pixels_keeps_their_answer_and_flags_it() -> None:
    models = Models()
    analysis = analyse("KNEE", HeaderPolicy.TRUST_PIXELS, models)
    assert analysis.decision is Decision.FRACTURE
    assert analysis.flags == ("A remark.", "The header says KNEE, but the image looks like HAND.")
    assert models.asked == [None]


@pytest.mark.parametrize("body_part", ["HAND KNEE", "KNEE HAND", "LEFT HAND AND KNEE"])
@pytest.mark.parametrize("policy", HeaderPolicy)
def test_an_image_of_the_second_part_that_a_header_names_does_not_contradict_it(
    body_part: str, policy: HeaderPolicy
) -> None:
    analysis = analyse(body_part, policy, Models())
    assert (analysis.decision, analysis.flags) == (Decision.FRACTURE, ("A remark.",))


def test_an_image_of_none_of_several_parts_is_told_against_all_of_them() -> None:
    analysis = analyse("KNEE ANKLE", HeaderPolicy.TRUST_PIXELS, Models())
    assert analysis.flags[-1] == "The header says KNEE, ANKLE, but the image looks like HAND."


def test_trusting_the_header_asks_the_model_of_its_region_and_flags_it() -> None:
    models = Models()
    analysis = analyse("KNEE", HeaderPolicy.TRUST_HEADER, models)
    assert models.asked == [None, "KNEE"]
    assert analysis.decision is Decision.FRACTURE
    assert analysis.flags[-1] == (
        "The header says KNEE, but the image looks like HAND: taken as KNEE, for the header is trusted."
    )


def test_a_trusted_header_that_names_no_single_region_leads_to_no_model() -> None:
    models = Models()
    analysis = analyse("LOWER LIMB", HeaderPolicy.TRUST_HEADER, models)
    assert models.asked == [None]
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason.startswith("The header says LOWERLIMB, but the image looks like HAND: not analysed")


def test_abstaining_says_why_and_shows_nothing_but_the_region() -> None:
    analysis = analyse("KNEE", HeaderPolicy.ABSTAIN, Models())
    assert analysis.decision is Decision.NOT_ANALYSED
    assert analysis.reason == "The header says KNEE, but the image looks like HAND: not analysed, as configured"
    assert analysis.region is not None
    assert analysis.models == (REGION,)
    assert (analysis.fracture, analysis.heatmap, analysis.flags) == (None, None, ())


def test_a_trusted_header_settles_a_doubt_of_the_pixels() -> None:
    models = Models(seen="LEG", confidence=0.79)  # a leg may be seen where the header says knee
    assert analyse("KNEE", HeaderPolicy.TRUST_HEADER, models).flags[-1] == DOUBT
    assert models.asked == [None, "KNEE"]


@pytest.mark.parametrize(
    ("body_part", "policy", "models"),
    [
        ("KNEE", HeaderPolicy.TRUST_PIXELS, Models("LEG", 0.79)),
        ("KNEE", HeaderPolicy.ABSTAIN, Models("LEG", 0.79)),
        ("KNEE", HeaderPolicy.TRUST_HEADER, Models("LEG", 0.8)),
        ("KNEE", HeaderPolicy.TRUST_HEADER, Models("KNEE", 0.79)),
        ("LEG", HeaderPolicy.TRUST_HEADER, Models("KNEE", 0.79)),
    ],
    ids=["pixels trusted", "abstaining", "no doubt", "the same region", "no single region"],
)
def test_else_a_doubt_stays_with_the_pixels(body_part: str, policy: HeaderPolicy, models: Models) -> None:
    assert analyse(body_part, policy, models).flags == ("A remark.",)
    assert models.asked == [None]


def test_what_is_outside_scope_stays_so_whatever_the_header_says() -> None:
    analysis = analyse("KNEE", HeaderPolicy.TRUST_HEADER, Models(seen=None))
    assert (analysis.decision, analysis.reason, analysis.flags) == (Decision.NOT_ANALYSED, "outside scope", ())


@pytest.mark.parametrize(
    ("body_part", "region"),
    [
        ("KNEE", "KNEE"),
        ("LEFT KNEE", "KNEE"),
        ("FOREARM", "FOREARM"),
        ("UPPER ARM", "HUMERUS"),
        ("ANKLE FOOT", "ANKLE_FOOT"),
        ("KNEE ANKLE", None),
        ("WRIST", None),
        ("ARM", None),
        ("LEG", None),
        ("CHEST", None),
        ("", None),
    ],
)
def test_the_header_names_a_region_where_it_is_one(body_part: str, region: str | None) -> None:
    assert name_region(build_cr(BodyPartExamined=body_part)) == region


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return models that see a hand in everything, whose fracture model answers knees only."""
    return build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="HAND", served=("KNEE",))


def analyse_with(bundles: Path, ds: Dataset, folder: Path, policy: HeaderPolicy) -> RadiographAnalysis:
    instance = read_instance(write_part10(ds, folder / "one.dcm"))
    return analyse_instance(instance, Pipeline.load(bundles, threads=1), policy=policy).analysis


def test_the_pipeline_asks_the_model_of_the_region_it_is_told(bundles: Path, tmp_path: Path) -> None:
    ds = build_dx(phantom(200, 160), BodyPartExamined="KNEE")
    trusting, not_trusting = (
        analyse_with(bundles, ds, tmp_path, policy) for policy in (HeaderPolicy.TRUST_HEADER, HeaderPolicy.TRUST_PIXELS)
    )
    assert not_trusting.reason == "no validated model for region HAND"
    assert trusting.fracture is not None
    assert trusting.region is not None
    assert trusting.region.region == "HAND"


def test_a_region_that_is_not_recognised_is_taken_from_a_trusted_header(tmp_path: Path) -> None:
    folder = build_tiny_bundles(tmp_path / "bundles")
    path = folder / "tiny_region" / MANIFEST
    path.write_text(path.read_text().replace("least_confidence = 0.5", "least_confidence = 0.9999"))
    path.write_text(path.read_text().replace("temperature = 1.0", "temperature = 5.0"))
    ds = build_dx(phantom(200, 160), BodyPartExamined="KNEE")
    lost = analyse_with(folder, ds, tmp_path, HeaderPolicy.TRUST_PIXELS)
    told = analyse_with(folder, ds, tmp_path, HeaderPolicy.TRUST_HEADER)
    assert lost.reason.startswith("outside scope: no region recognised")
    assert told.fracture is not None
    assert told.flags[-1] == DOUBT


def test_a_black_image_stays_outside_scope_whatever_region_it_is_told(bundles: Path, tmp_path: Path) -> None:
    ds = build_dx(np.zeros((200, 160), np.uint16), BodyPartExamined="KNEE", RescaleIntercept=0)
    analysis = analyse_with(bundles, ds, tmp_path, HeaderPolicy.TRUST_HEADER)
    assert analysis.reason.startswith("outside scope: ")


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Laterality": "L", "ImageLaterality": "R"}, "left in Laterality, right in ImageLaterality"),
        ({"Laterality": "L", "SeriesDescription": "Hand RIGHT ap"}, "left in Laterality, right in SeriesDescription"),
        ({"Laterality": "R", "ProtocolName": "FOOT LT"}, "right in Laterality, left in ProtocolName"),
        ({"Laterality": "R", "ImageLaterality": "R", "SeriesDescription": "Hand right"}, None),
        ({"Laterality": "L", "ImageLaterality": "B"}, None),
        ({"Laterality": "R", "SeriesDescription": "both hands, left and right"}, None),
        ({"Laterality": "R", "SeriesDescription": "brightness L2"}, None),
        ({"Laterality": "", "SeriesDescription": "left"}, None),
    ],
)
def test_a_header_that_gives_two_sides_is_flagged(elements: dict[str, str], said: str | None) -> None:
    remark = describe_laterality_conflict(build_cr(**elements))
    assert remark == (said and f"The header contradicts itself about the side: {said}. The pixels do not tell it.")


def test_the_side_of_a_frame_is_compared_too() -> None:
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = "R"
    group.FrameAnatomySequence = Sequence([anatomy])
    remark = describe_laterality_conflict(build_cr(Laterality="L", SharedFunctionalGroupsSequence=Sequence([group])))
    assert remark is not None
    assert "right in FrameLaterality" in remark


def test_two_sides_are_flagged_on_the_image(bundles: Path, tmp_path: Path) -> None:
    ds = build_dx(phantom(200, 160), BodyPartExamined="HAND", ImageLaterality="R", SeriesDescription="HAND LEFT")
    analysis = analyse_with(bundles, ds, tmp_path, HeaderPolicy.TRUST_PIXELS)
    assert analysis.flags[-1].startswith("The header contradicts itself about the side")


@pytest.mark.fault(53)
@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"ImageLaterality": "B"}, "both sides"),
        ({"Laterality": "B"}, "both sides"),
        ({"BodyPartExamined": "KNEE ANKLE"}, "ANKLE_FOOT, KNEE"),
        ({"BodyPartExamined": "HAND FOOT", "ImageLaterality": "B"}, "ANKLE_FOOT, HAND and both sides"),
        ({"BodyPartExamined": "TIBIA FIBULA", "ImageLaterality": "L"}, None),
        ({"BodyPartExamined": "HAND WRIST", "ImageLaterality": "U"}, None),
        ({"BodyPartExamined": "HAND", "ExposuresOnPlate": 4000}, None),
    ],
)
def test_a_header_that_names_several_limbs_or_regions_is_flagged(elements: dict[str, object], said: str | None) -> None:
    """Both sides, or several regions, in one image: the report says that the answer is one for the whole image."""
    remark = describe_several_parts(build_cr(**elements))
    assert remark == (said and f"The header says that the image shows {said}: the answer is one for the whole image.")


@pytest.mark.fault(53)
@pytest.mark.parametrize(("value", "is_said"), [("YES", True), ("NO", False), ("", False), ("SOME", False)])
def test_burned_in_annotation_keeps_no_image_from_the_models_and_is_said(
    bundles: Path, tmp_path: Path, value: str, is_said: bool
) -> None:
    """Annotation that identifies the patient keeps no image from the models; the report warns of hot areas on it."""
    ds = build_dx(phantom(200, 160), BodyPartExamined="KNEE", BurnedInAnnotation=value)
    analysis = analyse_with(bundles, ds, tmp_path, HeaderPolicy.TRUST_HEADER)
    assert analysis.fracture is not None
    assert any("burned into the image" in flag for flag in analysis.flags) is is_said
    assert (describe_burned_in_annotation(ds) is not None) is is_said
