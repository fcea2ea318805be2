"""A model bundle: a folder with a manifest, the exported model, its Keras original, and its card.

```
<name>/ manifest.toml   model.onnx   model.keras   scope.npz (region bundles)   reference.json
        card.md   metrics.json   figures/
```

Every file that takes part in an answer has its SHA-256 in the manifest, and is refused when it differs.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.errors import BundleError
from inference.preprocessing import Preprocessing
from inference.types import ModelIdentity, Task

MANIFEST = "manifest.toml"
ONNX = "model.onnx"
KERAS = "model.keras"
SCOPE = "scope.npz"
REFERENCE = "reference.json"
NAME_PATTERN = r"^[a-z0-9_-]+$"
VERSION_PATTERN = r"^\d+\.\d+\.\d+$"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QualityLimits(_Table):
    """From where on a heat map is withheld; see `inference.quality`.

    The defaults were chosen on maps of the first fracture bundle, 1.0.0, whose peak lies in a radiologist's box. What
    they withhold of a bundle's own maps out of fold, of those that point rightly and of the others, is on its card: of
    fracture 1.5.0 2.5 % and 14.5 %.
    """

    flatness: float = Field(default=0.35, gt=0, le=1)
    """A flatter map is withheld; an even one has 0.5."""
    inside: float = Field(default=0.5, ge=0, le=1)
    """A map with a smaller share of its heat on the limb is withheld."""
    agreement: float = Field(default=0.5, ge=-1, le=1)
    """A map that agrees less with that of the mirror image is withheld; of 1,800 pairs of noise none reached 0.46."""


class PreprocessingTable(_Table):
    """How the model wants its input; see `inference.preprocessing.Preprocessing`."""

    image_size: int = Field(gt=0)
    scale: float
    offset: float
    padding: float = 0.0


class Answer(_Table):
    """One fracture output: for which regions it speaks, its calibration and its operating points."""

    output: str
    """The label of the logit."""
    regions: tuple[str, ...]
    slope: float
    intercept: float
    """Platt's calibration: `probability = 1 / (1 + exp(-(slope * logit + intercept)))`."""
    sensitive: float = Field(ge=0, le=1)
    specific: float = Field(ge=0, le=1)
    """Operating points on the calibrated probability."""
    coverage: float | None = Field(default=None, gt=0, lt=1)
    """Share of each class whose true answer conformal prediction promises to keep; None where it was not fitted."""
    fracture_at_least: float | None = Field(default=None, ge=0, le=1)
    """From this calibrated probability on, "fracture" is kept."""
    no_fracture_at_most: float | None = Field(default=None, ge=0, le=1)
    """Up to this calibrated probability, "no fracture" is kept."""

    @model_validator(mode="after")
    def _conformal_as_a_whole(self) -> "Answer":
        given = {self.coverage is None, self.fracture_at_least is None, self.no_fracture_at_most is None}
        if len(given) > 1:
            raise ValueError("coverage, fracture_at_least and no_fracture_at_most belong together")
        return self

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "Answer":
        if self.sensitive > self.specific:
            raise ValueError("sensitive operating point above the specific one")
        return self


class RegionTable(_Table):
    """How a region bundle turns its outputs into an answer."""

    temperature: float = Field(gt=0)
    """`probabilities = softmax(logits / temperature)`."""
    scope_threshold: float = Field(gt=0)
    """A distance above it is outside scope; see `inference.scope`."""
    least_confidence: float = Field(ge=0, lt=1)
    """No region recognised with at least this confidence: outside scope."""


class TypeTable(_Table):
    """How a type bundle turns its outputs into an answer, and for which regions it speaks."""

    temperature: float = Field(gt=0)
    """`probabilities = softmax(logits / temperature)`."""
    regions: tuple[str, ...] = ()
    """Empty: for every region that the region bundle names."""


class Manifest(_Table):
    """What a bundle says about itself."""

    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    task: Task
    architecture: str
    labels: tuple[str, ...] = Field(min_length=1)
    """One label an output, in order."""
    preprocessing: PreprocessingTable
    digests: dict[str, str]
    """File name to SHA-256."""
    region: RegionTable | None = None
    """Only for `task = "region"`."""
    answers: tuple[Answer, ...] = ()
    """Only for `task = "fracture"`."""
    mirrored: bool = False
    """Whether radiograph and mirror image are both looked at, answers being their means."""
    second_look: float | None = Field(default=None, gt=0, lt=1)
    """For `task = "fracture"`: share of each side that a closer look sees; none where it is missing. See
    `inference.sight`."""
    quality: QualityLimits = QualityLimits()
    """For `task = "fracture"`."""
    type: TypeTable | None = None
    """Only for `task = "type"`."""

    @model_validator(mode="after")
    def _complete_for_its_task(self) -> "Manifest":
        regions = [region for answer in self.answers for region in answer.regions]
        if (self.task is Task.REGION) != (self.region is not None):
            raise ValueError("a region bundle, and no other, has a [region] table")
        if (self.task is Task.FRACTURE) != bool(self.answers):
            raise ValueError("a fracture bundle, and no other, has [[answers]]")
        if (self.task is Task.TYPE) != (self.type is not None):
            raise ValueError("a type bundle, and no other, has a [type] table")
        if len(set(regions)) < len(regions):
            raise ValueError("a region is answered twice")
        if self.second_look is not None and self.task is not Task.FRACTURE:
            raise ValueError("a fracture bundle alone has a second_look")
        if unknown := {answer.output for answer in self.answers} - set(self.labels):
            raise ValueError(f"no output is labelled {min(unknown)}")
        if missing := ({ONNX} | ({SCOPE} if self.region else set())) - set(self.digests):
            raise ValueError(f"no digest for {min(missing)}")
        return self


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A manifest and the folder it was read from; every digest verified where `load_bundle` made it."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest's bytes, 64 hexadecimal digits."""

    @property
    def identity(self) -> ModelIdentity:
        """Who speaks when this model answers."""
        named = self.manifest
        return ModelIdentity(name=named.name, version=named.version, task=named.task, digest=self.digest)

    @property
    def preprocessing(self) -> Preprocessing:
        """How this model wants its input."""
        return Preprocessing(**self.manifest.preprocessing.model_dump())


def load_bundle(folder: Path) -> Bundle:
    """Read and verify one bundle.

    Raises
    ------
    BundleError
        The manifest or a file is missing, malformed, or differs from its digest; the message names the file.
    """
    bundle = read_bundle(folder)
    for name, digest in bundle.manifest.digests.items():
        verify_file(folder / name, digest)
    return bundle


def read_bundle(folder: Path) -> Bundle:
    """Read the manifest alone: enough to say which models there are, too little to run one.

    Raises
    ------
    BundleError
        It is missing or malformed.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate(tomllib.loads(content.decode("utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(_tell_no_bundle(folder)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder.name}/{MANIFEST} cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"{folder.name}/{MANIFEST} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the manifest"
        raise BundleError(f"{folder.name}/{MANIFEST}: {where}: {first['msg']}") from error
    return Bundle(folder=folder, manifest=manifest, digest=hashlib.sha256(content).hexdigest())


def load_bundles(folder: Path) -> tuple[Bundle, ...]:
    """Read and verify every bundle below `folder`, in order of their names.

    Raises
    ------
    BundleError
        There is none, or one of them is refused.
    """
    return tuple(load_bundle(path) for path in _find_bundles(folder))


def read_bundles(folder: Path) -> tuple[Bundle, ...]:
    """Read the manifests of every bundle below `folder`, in order of their names; raises BundleError as above."""
    return tuple(read_bundle(path) for path in _find_bundles(folder))


def _find_bundles(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise BundleError(_tell_no_bundle(folder))
    return found


def _tell_no_bundle(folder: Path) -> str:
    below = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}")))
    return f"no bundle in {folder}: a bundle is a folder with a {MANIFEST}{f'; below it are {below}' if below else ''}"


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, fields: Mapping[str, Any], files: tuple[str, ...]) -> Manifest:
    """Add the digests of `files` to the other fields, and write `manifest.toml` if the whole is valid."""
    digests = {name: digest_file(folder / name) for name in files}
    manifest = Manifest.model_validate({**fields, "digests": digests})
    plain = manifest.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    (folder / MANIFEST).write_text("\n".join(_toml_lines(plain)) + "\n", encoding="utf-8")
    return manifest


def verify_file(path: Path, digest: str) -> None:
    """Raise BundleError unless the file is the one with this SHA-256."""
    named = f"{path.parent.name}/{path.name}"
    try:
        found = digest_file(path)
    except OSError as error:
        raise BundleError(f"{named} cannot be read: {type(error).__name__}") from error
    if found != digest:
        raise BundleError(f"{named} is not the file the manifest describes: SHA-256 {found}, expected {digest}")


def _toml_lines(fields: Mapping[str, Any]) -> list[str]:
    """Write values first, then tables, then arrays of tables; JSON's strings, numbers and lists are TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if not _is_table(value)]
    for name, table in fields.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{_toml_key(key)} = {json.dumps(value)}" for key, value in table.items())]
        elif _is_table(table):
            for row in table:
                lines += ["", f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in row.items())]
    return lines


def _toml_key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))
