"""Encode boxes, arrow and answer as a Grayscale Softcopy Presentation State (PS3.3 A.33.1) of the untouched source."""

from collections.abc import Iterator
from fractions import Fraction
from math import isclose

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from dicom_node import __version__
from dicom_node.display_shutter import KEYWORDS, find_opening, list_shapes
from dicom_node.encode import provenance
from dicom_node.encode.evidence import build_evidence, describe_result
from dicom_node.encode.gray import find_modality_lut, find_voi_lut, is_inverted
from dicom_node.encode.provenance import Origin
from dicom_node.encode.secondary_capture import describe_later_version, is_pair, read_side
from dicom_node.encode.structured_report import outline_box
from dicom_node.encode.versions import name_version
from dicom_node.header import code, numbers
from dicom_node.identity import DISCLAIMER, MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.values import AnalysedInstance, ResultKind
from inference.overlay import HEADLINES, describe_operating_point, outline_arrow
from inference.probabilities import format_fracture_probability
from inference.types import Decision, ShownRadiograph

_KIND = ResultKind.PRESENTATION_STATE
_LAYER = "FRACTURE AI"


def encode_presentation_state(origin: Origin, image: AnalysedInstance, *, number: int) -> Dataset | None:
    """Encode the marks on one radiograph as instance `number` of their series; None where its source cannot have one.

    A Grayscale Presentation State is of grey images only (PS3.4 N.1).
    """
    header, radiograph = image.instance.header, image.shown
    evidence = build_evidence(origin, image.instance)
    is_grey = code(header, "PhotometricInterpretation").startswith("MONOCHROME")
    if radiograph is None or not is_grey or not evidence.SeriesInstanceUID:
        return None
    layer = GraphicLayer(_LAYER, order=1, description=f"Fracture AI. {DISCLAIMER}"[:64])
    marks = GraphicAnnotation(
        [evidence],
        layer,
        graphic_objects=list(_draw(image, radiograph)) or None,
        text_objects=[_write(origin, image, radiograph)],
    )
    ds = GrayscaleSoftcopyPresentationState(
        [evidence],
        series_instance_uid=origin.derive_uid(_KIND, "series"),
        series_number=1,
        sop_instance_uid=origin.derive_uid(_KIND, image.instance.sop_instance_uid),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER_MODEL_NAME,
        software_versions=__version__,
        device_serial_number="0",
        content_label=_LAYER,
        content_description=f"{HEADLINES[image.analysis.decision]}.{describe_later_version(origin)}"[:64],
        graphic_annotations=[marks],
        graphic_layers=[layer],
        content_creator_name=f"{MANUFACTURER}^",
        modality_lut_transformation=find_modality_lut(header),
        voi_lut_transformations=find_voi_lut(header),
        presentation_lut_transformation=PresentationLUTTransformation("INVERSE" if is_inverted(header) else "IDENTITY"),
    )
    _add_shutter(ds, header, radiograph.pixel_aspect)
    describe_result(ds, origin, header, _KIND, "Fracture AI marks. Research use only")
    del ds.DeviceSerialNumber  # the constructor wants one; software has none
    _add_display(ds, origin, header, radiograph.pixel_aspect)
    provenance.add_sop_common(ds, origin, header, image.analysis.models)
    return ds


def _draw(image: AnalysedInstance, radiograph: ShownRadiograph) -> Iterator[GraphicObject]:
    """Draw the boxes and the arrow of the overlay."""
    analysis = image.analysis
    for roi in analysis.rois:
        yield GraphicObject("POLYLINE", outline_box(roi), "PIXEL")
    if analysis.heatmap_peak is not None and analysis.decision is not Decision.NO_FRACTURE:
        grey = radiograph.grey
        # The overlay counts pixels from their centres.
        arrow = outline_arrow(grey, analysis.heatmap_peak, radiograph.pixel_aspect) + 0.5
        inside = np.clip(arrow, 0, (radiograph.columns, radiograph.rows))
        yield GraphicObject("POLYLINE", np.concatenate([inside, inside[:1]]), "PIXEL", is_filled=True)


def _write(origin: Origin, image: AnalysedInstance, radiograph: ShownRadiograph) -> TextObject:
    """Write the answer at the top of the picture."""
    analysis, study = image.analysis, origin.analysis.study
    answer: str = HEADLINES[analysis.decision]
    if analysis.fracture is not None:
        answer = f"{answer}, fracture probability {format_fracture_probability(analysis.fracture)}"
    version = name_version(study) if study.version > 1 else ""
    # Not in the overlay's words: few viewers draw the dashes that a presentation state may ask for.
    point = describe_operating_point(analysis).capitalize()
    lines = "\r\n".join(filter(None, (answer, point, version, DISCLAIMER)))
    box = (0.0, 0.0, float(radiograph.columns), max(1.0, radiograph.rows * 0.12))
    return TextObject(lines, "PIXEL", bounding_box=box, text_justification="LEFT")


def _add_shutter(ds: Dataset, header: Dataset, pixel_aspect: float) -> None:
    """Repeat the display shutter that the picture was read with (PS3.3 C.11.12): a state without one takes it away."""
    if find_opening(header, pixel_aspect) is None:
        return
    ds.ShutterShape = list_shapes(header)
    for keyword in (keyword for shape in list_shapes(header) for keyword in KEYWORDS[shape]):
        setattr(ds, keyword, [int(value) for value in numbers(header, keyword)])
    ds.ShutterPresentationValue = 0


def _add_display(ds: Dataset, origin: Origin, header: Dataset, pixel_aspect: float) -> None:
    """Say how wide a pixel is for its height (PS3.3 C.10.4), which side of the body it is, and when it was made.

    The aspect is the one that the picture was read with: a spacing that says another was not believed then either.
    """
    (area,) = ds.DisplayedAreaSelectionSequence
    del area.PixelOriginInterpretation
    spacings = (numbers(header, keyword) for keyword in ("PixelSpacing", "ImagerPixelSpacing"))
    usable = (pair for pair in spacings if is_pair(pair) and isclose(pair[0] / pair[1], pixel_aspect))
    if spacing := next(usable, None):
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [format_number_as_ds(value) for value in spacing]
    else:
        ratio = Fraction(pixel_aspect).limit_denominator(10_000)
        area.PresentationPixelAspectRatio = [ratio.numerator, ratio.denominator]
    # Of the series (PS3.3 C.7.3.1, type 2C): said where all its sources are of one side.
    headers = [image.instance.header for image in origin.analysis.images]
    sides = {read_side(one) for one in headers}
    ds.Laterality = sides.pop() if sides in ({"L"}, {"R"}) else ""
    ds.PresentationCreationDate = origin.created_at.strftime("%Y%m%d")
    ds.PresentationCreationTime = origin.created_at.strftime("%H%M%S")
