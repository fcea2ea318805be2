"""The stages of the line: `[receive]`, `[completion]`, `[reconcile]`, `[models]`, `[analysis]`, `[results]`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from dicom_node.languages import LanguageCode
from dicom_node.settings.table import Modalities, Seconds, Table

_DEFAULT_BUNDLES = Path(__file__).resolve().parents[2] / "models" / "bundles"
MOST_ASSOCIATIONS = 256
"""The highest limit that may be configured."""


class ReceiveSettings(Table):
    """`[receive]`: limits of the receiver."""

    processes: Annotated[StrictInt, Field(ge=1, le=16)] = 2
    pin_to_cores: StrictBool = True
    maximum_associations: Annotated[StrictInt, Field(ge=1, le=MOST_ASSOCIATIONS)] = 64
    """Of all processes that share `data_dir` together."""
    maximum_associations_per_address: Annotated[StrictInt, Field(ge=1, le=MOST_ASSOCIATIONS)] = 32
    maximum_pdu_bytes: Annotated[StrictInt, Field(ge=4096, le=1_048_576)] = 131_072
    pdu_deadline_s: Seconds = 20
    acse_timeout_s: Seconds = 30
    dimse_timeout_s: Seconds = 60
    network_timeout_s: Seconds = 60
    minimum_free_mb: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 500
    maximum_object_mb: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 512


class CompletionSettings(Table):
    """`[completion]`: when a study counts as complete."""

    quiet_s: Seconds = 10
    max_wait_s: Seconds = 900
    sweep_s: Seconds = 1
    """How often the worker looks for complete studies."""
    modalities: Modalities = ("CR", "DX", "RG")
    """Of the series that an archive is expected to send: others are neither waited for nor fetched."""

    @model_validator(mode="after")
    def _check_order(self) -> "CompletionSettings":
        if self.max_wait_s < self.quiet_s:
            raise ValueError("max_wait_s must not be shorter than quiet_s")
        return self


class ReconcileSettings(Table):
    """`[reconcile]`: which archives are searched for studies that they never sent."""

    archives: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of archives or destinations."""
    every_s: Seconds = 600
    hours: Annotated[StrictFloat, Field(gt=0, le=24 * 31, allow_inf_nan=False)] = 24
    """How far back studies are looked at."""
    at_once: Annotated[StrictInt, Field(ge=1, le=1000)] = 20
    """How many studies are fetched in one search at most, one after the other."""
    tries: Annotated[StrictInt, Field(ge=1, le=100)] = 5
    """How often one study is fetched before a person must look."""


class HeaderPolicy(StrEnum):
    """What is done with an image that shows another region than its header names; it is flagged in any case."""

    TRUST_PIXELS = "trust pixels"
    """The model of the region that the image shows answers."""
    TRUST_HEADER = "trust header"
    """The model of the region that the header names answers, also where the image leaves the region in doubt."""
    ABSTAIN = "abstain"
    """The image is not analysed."""


class ModelSettings(Table):
    """`[models]`: which bundles analyse, and with what."""

    bundles: Path = _DEFAULT_BUNDLES
    runtime: Literal["onnx", "tensorflow"] = "onnx"
    threads: Annotated[StrictInt, Field(ge=1, le=64)] = 2
    when_header_disagrees: HeaderPolicy = HeaderPolicy.TRUST_PIXELS
    """About the region of the body: what the image shows, and what its header names."""


class AnalysisSettings(Table):
    """`[analysis]`: limits of the processes that decode images and run the models."""

    decode_limit_s: Seconds = 60
    """How long one image may take to be decoded."""
    decode_memory_mb: Annotated[StrictFloat, Field(ge=100, allow_inf_nan=False)] = 2000
    """How much memory decoding one image may take."""
    models_limit_s: Seconds = 120
    """How long the models may take over one image."""
    tries_per_image: Annotated[StrictInt, Field(ge=1, le=10)] = 2
    """How often an image is tried that crashes the process working on it, or takes it over its time or memory."""
    crashes_per_study: Annotated[StrictInt, Field(ge=1, le=20)] = 4
    """How often one study may do so, or take the worker itself down, before the rest of it is left alone."""


class ResultSettings(Table):
    """`[results]`: what is made of an answer."""

    language: LanguageCode = "en"
    """Of summary, overlays and report, where a destination or a rule says no other."""

    reject_superseded: StrictBool = False
    """Whether a later version comes with a rejection note (IHE IOCM) for the results it supersedes."""
