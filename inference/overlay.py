"""Draw what the pipeline says onto the radiograph, in the radiograph's own geometry.

The picture keeps the source's rows and columns: a box lies on the same pixels in the source and in the overlay. Text
stands on translucent strips inside the picture; it is set as it will be seen, then squeezed by the pixel aspect ratio.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.lettering import WHITE, SetText, set_strip, set_text
from inference.phrases import Phrase, PlainEnglish, Voice, format_label
from inference.probabilities import format_fracture_probability, format_probability
from inference.types import Decision, Radiograph, RadiographAnalysis, Roi, ShownRadiograph, UInt8Array

HEADLINES: Mapping[Decision, Phrase] = {
    Decision.FRACTURE: Phrase("Fracture suspected"),
    Decision.NO_FRACTURE: Phrase("No fracture found"),
    Decision.UNCERTAIN: Phrase("Uncertain"),
    Decision.NOT_ANALYSED: Phrase("Not analysed"),
}
"""The words for each decision, the same in every result."""

HEATMAP_WITHHELD = Phrase("Heat map withheld")

_COLD = 0.30
"""Heat up to which the radiograph stays as it is."""
_OPACITY = 0.66
"""Of the colours where the heat is 1."""
_MARK = (90, 225, 255)
_HALO = (0, 0, 0)
_HEADLINE_COLOURS = {Decision.FRACTURE: (255, 150, 40), Decision.UNCERTAIN: (255, 225, 90)}

_PLAIN_ENGLISH = PlainEnglish()

Point = NDArray[np.float64]
Rows = Sequence[Sequence[UInt8Array]]
"""Of a strip: tiles of text, a left and a right one."""


def describe_boxes(analysis: RadiographAnalysis) -> str:
    """Say what the boxes' lines mean; empty where there is no box."""
    if not analysis.rois or analysis.fracture is None:
        return ""
    if analysis.decision is Decision.FRACTURE:
        return Phrase("Solid box: the specific operating point is reached")
    if describe_operating_point(analysis):
        return Phrase("Dashed box: only the sensitive operating point is reached")
    return Phrase("Dashed box: uncertain")


def describe_operating_point(analysis: RadiographAnalysis) -> str:
    """Say which operating point is reached; empty where none is, or where that is not what was decided by."""
    if analysis.decision is Decision.FRACTURE:
        return "the specific operating point is reached"
    points = analysis.fracture
    if points is not None and points.sensitive_threshold <= points.probability < points.specific_threshold:
        return "only the sensitive operating point is reached"
    return ""


def render_original(radiograph: Radiograph) -> UInt8Array:
    """Render the radiograph as it is read: shape (rows, columns), 0 to 255, bone bright."""
    return np.asarray(cv2.convertScaleAbs(radiograph.pixels, alpha=255), np.uint8)


def show(radiograph: Radiograph) -> ShownRadiograph:
    """Make of a radiograph what is shown of it."""
    return ShownRadiograph(grey=render_original(radiograph), pixel_aspect=radiograph.pixel_aspect)


def render_overlay(
    radiograph: ShownRadiograph,
    analysis: RadiographAnalysis,
    *,
    disclaimer: str,
    voice: Voice = _PLAIN_ENGLISH,
    set_text: SetText = set_text,
) -> UInt8Array:
    """Render heat map, boxes, arrow and legend over the radiograph: shape (rows, columns, 3), RGB, 0 to 255.

    Colours lie only where the heat is above 0.3. Boxes are solid when the decision is `fracture`, which wants the
    specific operating point, dashed otherwise; the legend says which.
    The arrow's tip stops just before the strongest activation, so that the pixels there stay visible; where no fracture
    was found there is no arrow, for it would point at one. The legend is said by `voice` and set by `set_text`.
    """
    grey = radiograph.grey
    picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if analysis.heatmap is not None:
        _blend_heat(picture, grey, analysis.heatmap)
    size = _measure(grey.shape, radiograph.pixel_aspect)
    text_height = max(8.0, 0.0155 * size)
    answer = _build_answer(analysis, text_height, voice, set_text)
    strips = _place_strips(
        radiograph,
        analysis.rois,
        (answer, [_build_provenance(analysis, disclaimer, text_height, set_text)]),
        text_height,
    )
    for roi in analysis.rois:
        _draw_box(picture, roi, size, dashed=analysis.decision is not Decision.FRACTURE)
    if analysis.heatmap_peak is not None and analysis.decision is not Decision.NO_FRACTURE:
        covered = len(strips[0]), len(strips[1])
        outline = outline_arrow(grey, analysis.heatmap_peak, radiograph.pixel_aspect, covered=covered)
        _draw_arrow(picture, outline, size)
    for strip, start in zip(strips, (0, radiograph.rows - len(strips[1])), strict=True):
        under = picture[start : start + len(strip)]
        np.maximum((under * np.float32(0.35)).astype(np.uint8), strip, out=under)
    return picture


def _measure(shape: tuple[int, ...], aspect: float) -> float:
    """Return the side of a square with the picture's area as it is seen, in columns: what text and lines scale with."""
    return float(np.sqrt(shape[0] * shape[1] * aspect))


def _build_heat_table() -> UInt8Array:
    """Tabulate the blend of heat and grey: shape (65536, 3), indexed by heat * 256 + grey.

    The colour is shaded by the grey below it, so that bone keeps its contrast where it is hot.
    """
    heat = np.linspace(0, 1, 256)[:, None, None]
    grey = np.linspace(0, 1, 256)[None, :, None]
    stops = [0.0, _COLD, 0.65, 1.0]
    ramp = ([200, 200, 255, 255], [0, 0, 100, 225], [40, 40, 0, 40])
    colour = np.stack([np.interp(heat[:, 0, 0], stops, channel) for channel in ramp], axis=-1)[:, None, :]
    opacity = _OPACITY * np.clip((heat - _COLD) / (0.75 - _COLD), 0, 1)
    table = 255 * grey * (1 - opacity) + colour * (0.45 + 0.55 * grey) * opacity
    return np.rint(table).astype(np.uint8).reshape(65536, 3)


_HEAT_TABLE = _build_heat_table()


def _blend_heat(picture: UInt8Array, grey: UInt8Array, heat: UInt8Array) -> None:
    """Colour the hot part of `picture`; the table leaves cold pixels grey."""
    x, y, width, height = cv2.boundingRect((heat > 255 * _COLD).astype(np.uint8))
    window = slice(y, y + height), slice(x, x + width)
    index = heat[window].astype(np.uint16) << 8 | grey[window]
    picture[window] = _HEAT_TABLE.take(index, axis=0)


def _draw_box(picture: UInt8Array, roi: Roi, size: float, *, dashed: bool) -> None:
    """Draw the outline of the box's outermost pixels, light on a dark halo."""
    left, top, right, bottom = roi.x, roi.y, roi.x + roi.width - 1, roi.y + roi.height - 1
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    width = max(1, round(size * 0.0022))
    dash = max(4.0, size * 0.016)
    lines: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for start, end in pairwise(np.asarray(corners, float)):
        pieces = max(1, int(np.linalg.norm(end - start) / dash) | 1) if dashed else 1
        steps = np.linspace(start, end, pieces + 1)
        lines += [(_pixel(first), _pixel(last)) for first, last in list(pairwise(steps))[::2]]
    for colour, thickness in ((_HALO, width + 2 * max(1, width // 2)), (_MARK, width)):
        for first, last in lines:
            cv2.line(picture, first, last, colour, thickness)


def _pixel(point: Point) -> tuple[int, ...]:
    return tuple(int(value) for value in np.rint(point))


def outline_arrow(
    grey: UInt8Array, peak: tuple[int, int], aspect: float, *, covered: tuple[int, int] = (0, 0)
) -> Point:
    """Outline an arrow whose tip stops just before `peak`, coming from where it hides the least bone.

    Shape (7, 2): x and y in source pixels, the centre of the first one at 0, the tip first. `covered` are rows at the
    top and at the bottom into which it must not reach where it can help it.
    """
    size = _measure(grey.shape, aspect)
    length, gap, half = 0.12 * size, 0.014 * size + 2, max(2.0, 0.011 * size)
    seen = np.array([1.0, aspect])
    tip_of = np.array(peak) * seen
    frame = np.array([[0, covered[0]], [grey.shape[1] - 1, grey.shape[0] - 1 - covered[1]]]) * seen
    ways = [np.array([np.cos(angle), np.sin(angle)]) for angle in np.arange(8) * np.pi / 4 + np.pi / 8]
    room = [way for way in ways if np.all((frame[0] <= tip_of + way * length) & (tip_of + way * length <= frame[1]))]

    def brightness(way: Point) -> float:
        points = np.rint((tip_of + np.linspace(gap, length, 12)[:, None] * way) / seen).astype(int)
        return float(grey[points[:, 1].clip(0, grey.shape[0] - 1), points[:, 0].clip(0, grey.shape[1] - 1)].mean())

    inwards = frame.mean(axis=0) - tip_of
    away = min(room, key=brightness) if room else max(ways, key=lambda way: float(way @ inwards))
    across = np.array([-away[1], away[0]])
    outline = [(gap, 0.0), (gap + 3 * half, 1.0), (gap + 2.6 * half, 0.35), (length, 0.35)]
    outline += [(along, -side) for along, side in reversed(outline[1:])]
    points = [tip_of + along * away + side * half * across for along, side in outline]
    drawn: Point = np.array(points) / seen
    return drawn


def _draw_arrow(picture: UInt8Array, outline: Point, size: float) -> None:
    polygon = [np.rint(outline).astype(np.int32)]
    cv2.polylines(picture, polygon, True, _HALO, max(2, round(size * 0.004)), cv2.LINE_AA)
    cv2.fillPoly(picture, polygon, _MARK, cv2.LINE_AA)


def _place_strips(
    radiograph: ShownRadiograph, rois: Sequence[Roi], legend: tuple[Rows, Rows], text_height: float
) -> tuple[UInt8Array, UInt8Array]:
    """Set the legend into a strip at the top and one at the bottom, moved together where a box lies under one of them.

    Each has shape (height, columns, 3), black where the radiograph shows through; a height may be 0.
    """
    top, bottom = (set_strip(rows, radiograph.columns, text_height, radiograph.pixel_aspect) for rows in legend)
    together = len(top) + len(bottom)
    under_top = any(roi.y < len(top) for roi in rois)
    under_bottom = any(roi.y + roi.height > radiograph.rows - len(bottom) for roi in rois)
    none = top[:0]
    if under_top and all(roi.y + roi.height <= radiograph.rows - together for roi in rois):
        return none, np.concatenate([top, bottom])
    if under_bottom and all(roi.y >= together for roi in rois):
        return np.concatenate([top, bottom]), none
    return top[: radiograph.rows // 2], bottom[: radiograph.rows // 2]


def _build_answer(analysis: RadiographAnalysis, height: float, voice: Voice, set_text: SetText) -> Rows:
    """Build the tiles of what was found, in rows of a left and a right tile."""
    colour = _HEADLINE_COLOURS.get(analysis.decision, WHITE)
    answer = [[set_text(voice.say(HEADLINES[analysis.decision]), height * 1.25, colour, bold=True)]]
    if analysis.fracture is not None:
        probability = voice.number(format_fracture_probability(analysis.fracture))
        answer[0].append(set_text(voice.say("Fracture probability {probability}", probability=probability), height))
    if (named := analysis.fracture_type) is not None:
        kind, confidence = voice.say(format_label(named.label)), voice.number(format_probability(named.confidence))
        said = voice.say("Fracture type: {kind} {confidence}", kind=kind, confidence=confidence)
        answer.append([set_text(said, height)])
    if boxes := describe_boxes(analysis):
        answer.append([set_text(voice.say(boxes), height)])
    if (seen := analysis.region) is not None:
        region, confidence = voice.say(format_label(seen.region)), voice.number(format_probability(seen.confidence))
        said = voice.say("Region: {region} {confidence}", region=region, confidence=confidence)
        answer.append([set_text(said, height)])
    withheld = analysis.heatmap is None
    heat = set_text(voice.say(HEATMAP_WITHHELD), height) if withheld else _set_scale(height, voice, set_text)
    if len(answer) > 1:
        answer[-1].append(heat)
    else:
        answer.append([heat])
    return answer


def _build_provenance(
    analysis: RadiographAnalysis, disclaimer: str, height: float, set_text: SetText
) -> list[UInt8Array]:
    """Build the tiles of where it comes from."""
    models = ", ".join(f"{model.name} {model.version}" for model in analysis.models)
    return [set_text(disclaimer, height, bold=True), *([set_text(models, height)] if models else [])]


def _set_scale(height: float, voice: Voice, set_text: SetText) -> UInt8Array:
    """Set the colour scale of the heat map, shown as it lies on mid-grey, between the words `low` and `high`."""
    low, high = (set_text(said, height) for said in (voice.say("Activation: low"), voice.say("high")))
    heat = np.linspace(255 * _COLD, 255, round(height * 7)).astype(np.uint16)
    bar, gap = np.zeros((len(low), len(heat), 3), np.uint8), np.zeros((len(low), round(height * 0.6), 3), np.uint8)
    bar[round(height * 0.35) : round(height * 1.35)] = _HEAT_TABLE[heat << 8 | 170]
    return np.concatenate([low, gap, bar, gap, high], axis=1)
