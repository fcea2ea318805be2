"""`fracture-models calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from inference.bundle import load_bundle
from inference.errors import BundleError
from inference.model import Model
from models.commands.data import (
    FRACATLAS,
    DataOption,
    LayoutOption,
    PartOption,
    PatientOption,
    RegionOption,
    load_data,
    take_part,
)
from models.commands.new_folders import check_can_be_written
from models.commands.progress import console, refuse, show_progress
from models.pool import describe, warn_of_seen

EXAMPLES = """\
[bold]Examples[/bold]

fracture-models calibrate models/bundles/fracture --data PATH/site --layout folders --region FOREARM --out site/fracture

fracture-models calibrate models/bundles/region --data PATH/regions --layout folders --out site/region
"""


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)],
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; it must not exist yet.")],
    layout: LayoutOption = FRACATLAS,
    region: RegionOption = None,
    patient_from: PatientOption = None,
    part: PartOption = None,
) -> None:
    """Fit a bundle's probabilities and operating points to a site's radiographs.

    The weights stay: which radiograph is more suspicious than which does not
    change, only what probability that is and from where on it counts. A
    fracture bundle gets Platt's slope and intercept, both operating points and
    its conformal limits, by the rule of training, for each answer (a region, or
    several that share one) with at least 20 radiographs with a fracture and 20
    without; the others keep theirs. A region or type bundle gets a temperature,
    from at least 50 radiographs. The new bundle has the next patch version, and
    its card says what it was calibrated on.

    Use radiographs as they come at the site, with the share of fractures that
    is usual there: the probabilities mean that share. They must not be those
    the bundle was trained on.
    """
    from models.calibrated_bundle import render_calibration, write_calibrated  # noqa: PLC0415 - scikit-learn takes
    from models.recalibration import CannotCalibrateError, recalibrate  # noqa: PLC0415 - a second to import

    if out.exists():
        refuse(f"{out} exists already")
    check_can_be_written(out)
    try:
        verified = load_bundle(bundle)
        model = Model.load(verified, runtime="onnx", threads=2)
        dataset = take_part(load_data(layout, data, verified.manifest.task, patient_from=patient_from), part)
        if warning := warn_of_seen(bundle, dataset):
            refuse(f"{warning} A calibration on them would be too sure of itself.")
        fields, calibration = recalibrate(model, dataset.samples, region=region, progress=show_progress)
    except (BundleError, CannotCalibrateError) as error:
        refuse(error)
    told = {"data": {"folder": data.resolve().name, "layout": layout.value, **describe(dataset)}, **calibration}
    manifest = write_calibrated(verified, out, fields, told)
    console.print(render_calibration({"from_version": verified.manifest.version, **told}), markup=False)
    console.print(f"{out}: {manifest.name} {manifest.version}")
