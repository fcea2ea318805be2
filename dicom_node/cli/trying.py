"""Commands to try it: files analysed without a network, and the demonstration."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dicom_node.cli.options import Bundles
from dicom_node.languages import LanguageCode
from dicom_node.logs import configure_logging
from dicom_node.settings import load_settings


def analyse(
    paths: Annotated[list[Path], typer.Argument(help="DICOM, PNG or JPEG files, or folders of them.", exists=True)],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write pictures (PNG), reports (PDF) and result objects (DICOM) below it.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file of a site: its models, limits, language, AE title."),
    ] = None,
    language: Annotated[
        LanguageCode | None, typer.Option(help="Of pictures and report; else the configuration's, else English.")
    ] = None,
    bundles: Bundles = None,
    runtime: Annotated[
        Literal["onnx", "tensorflow"] | None,
        typer.Option(help="What runs the models; else what the configuration says, else onnx."),
    ] = None,
) -> None:
    """Analyse files without any network and print what was found.

    What a node's upload page says, picture and report too:  dicom-node analyse FILE -c config/node.toml --out out

    --out has a folder for each study: FILE.png of each image, report.pdf, and the result objects. PATIENT DATA.

    Each JSON object holds:

    - path
    - region and region_confidence, or null
    - fracture_probability, or null
    - fracture_type and fracture_type_probability, or null
    - decision: fracture, no fracture, uncertain or not analysed
    - confidence: probability of that decision as a percentage: of a fracture, or of none; or null
    - reason
    - rois: x, y, width, height of each, in source pixels
    - heatmap_peak: x, y, or null
    - flags: remarks, such as why the heat map is withheld
    - models
    """
    from dicom_node.operate.offline import analyse_files

    configure_logging(logging.WARNING)
    settings = load_settings(config) if config else None
    analyse_files(paths, settings=settings, as_json=json, out=out, language=language, bundles=bundles, runtime=runtime)


def demo(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Your own DICOM, PNG or JPEG files or folders; else sample_studies."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for what comes back.")] = Path("demo_output"),
    archive: Annotated[
        Literal["auto", "orthanc", "builtin"], typer.Option(help="Archive to show it with; auto: Orthanc if installed.")
    ] = "auto",
    viewer: Annotated[
        bool | None,
        typer.Option(
            help="End in a viewer (OHIF, fetched with npm) until interrupted; by default where a person looks on."
        ),
    ] = None,
) -> None:
    """Show the main job: an archive, the node, studies sent as a PACS would, and what comes back.

    Exit code 0 only if every study got its answer.
    """
    from dicom_node.demo.run import run_demo

    looked_at = sys.stdout.isatty() if viewer is None else viewer
    raise typer.Exit(run_demo(paths or [], out=out, archive=archive, viewer=looked_at))
