"""What programs ask, with a token instead of a session."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import NodeError
from dicom_node.identity import DISCLAIMER
from dicom_node.store import RevisionStatus
from dicom_node.web.access import AnyProgram, ReadingProgram
from dicom_node.web.predictions import BusyError
from dicom_node.web.site import TheSite
from dicom_node.web.uploads import read_upload


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Model(BaseModel):
    """A model that spoke."""

    name: str
    version: str
    digest: str = Field(description="SHA-256 of the exported model")


class Record(BaseModel):
    """Everything that was said of the image, as `dicom-node analyse --json` prints it."""

    path: str = Field(description="the name that the file was sent under")
    region: str | None
    region_confidence: float | None
    fracture_probability: float | None = Field(description="calibrated; null if no fracture model spoke")
    fracture_type: str | None
    fracture_type_probability: float | None
    decision: str
    confidence: str | None = Field(description="of the decision, see `confidence` beside the record")
    reason: str = Field(description="why it is uncertain or was not analysed")
    rois: list[list[int]] = Field(description="hot areas: x, y, width, height in source pixels")
    heatmap_peak: list[int] | None = Field(description="x, y of the strongest activation")
    flags: list[str] = Field(description="remarks for the reader")
    models: list[Model]


class Prediction(BaseModel):
    """The answer to one image."""

    prediction: Literal["fracture", "no fracture", "uncertain", "not analysed"]
    confidence: str | None = Field(
        description="percentage as text, such as 87.3%: the probability that there is none for `no fracture`, else that"
        " of a fracture; null where no fracture model spoke"
    )
    image_base64: str = Field(description="PNG: the image with heat map, boxes and legend")
    record: Record
    disclaimer: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no token that is known", "model": Problem},
    403: {"description": "the token's user may not", "model": Problem},
}
_NO_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "not one file in a field named file", "model": Problem},
    413: {"description": "larger than `[web] largest_upload_mb`", "model": Problem},
    415: {"description": "not multipart/form-data", "model": Problem},
    422: {"description": "no image, or one that cannot be decoded", "model": Problem},
    503: {"description": "other images are being worked on, or the models cannot be loaded", "model": Problem},
}
_ONE_FILE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "one DICOM, PNG or JPEG file"}
                    },
                }
            }
        },
    }
}

router = APIRouter(responses=_REFUSALS)


@router.get("/studies", tags=["studies"])
def list_studies(
    site: TheSite, _program: AnyProgram, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> list[RevisionStatus]:
    """List the newest studies with what became of them, by UID: no patient data."""
    return site.store.status(limit)


@router.post("/predict", tags=["prediction"], responses=_NO_ANSWERS, openapi_extra=_ONE_FILE)
async def predict(request: Request, site: TheSite, program: ReadingProgram) -> Prediction:
    """Analyse one image. Nothing of it is kept, and nothing is sent to an archive."""
    # Read here and not as a parameter, which would be read before the token is looked at, and into a temporary file.
    upload = await read_upload(request, most=1)
    try:
        (answer,) = await run_in_threadpool(site.predictions.answer, upload.files)
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": "10"}) from None
    except ChildProcessError:
        raise HTTPException(503, "the models cannot be loaded; the node's log says why") from None
    site.note(program, "predict")
    if isinstance(answer, NodeError):
        raise HTTPException(422, str(answer))
    return Prediction(
        prediction=answer.record["decision"],
        confidence=answer.confidence,
        image_base64=answer.picture_base64,
        record=Record.model_validate(answer.record),
        disclaimer=DISCLAIMER,
    )
