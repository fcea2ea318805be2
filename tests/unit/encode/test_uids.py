"""What the UIDs of results are derived from."""

from dataclasses import replace

from analyses import build_excluded, build_image, build_study
from builders import build_dx, build_sr

from dicom_node.encode.provenance import Origin
from dicom_node.identity import derive_result_uid
from dicom_node.values import ResultKind

STUDY = "1.2.3"
KIND = ResultKind.ENCAPSULATED_PDF


def derive(analysis):
    return Origin(analysis=analysis, ae_title="NODE", header=analysis.study.instances[0].header).derive_uid(KIND)


def build_report():
    one = build_excluded(build_sr(StudyInstanceUID=STUDY), "It is not a radiograph.")
    return replace(one, instance=replace(one.instance, names_revision=False))


def expect(analysis, *sources):
    digests = sorted(model.digest for model in analysis.models)
    return derive_result_uid(KIND, *sorted(one.instance.sop_instance_uid for one in sources), *digests, "NODE")


def test_the_images_of_a_study_give_the_uids_of_its_results_whatever_else_there_is():
    images = [build_image(build_dx(StudyInstanceUID=STUDY)) for _ in range(2)]
    alone, beside = build_study(images), build_study(images, [build_report()])
    assert derive(alone) == derive(beside) == expect(alone, *images)
    assert derive(build_study(images[:1])) != derive(alone)


def test_an_image_that_is_not_analysed_counts_too():
    image, chest = build_image(build_dx(StudyInstanceUID=STUDY)), build_excluded(build_dx(StudyInstanceUID=STUDY), "")
    analysis = build_study([image], [chest])
    assert derive(analysis) == expect(analysis, image, chest)


def test_a_study_without_an_image_goes_by_all_that_it_has():
    reports = [build_report(), build_report()]
    analysis = build_study([], reports)
    assert derive(analysis) == expect(analysis, *reports)
