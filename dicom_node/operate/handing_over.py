"""`dicom-node send-files`: results of files on disk, sent to one destination."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dicom_node.analyse.decoder import Decoder
from dicom_node.deliver import ResultFile
from dicom_node.operate.handed_files import Sent, admit_files, find_destination, send_handed_results
from dicom_node.operate.handed_results import make_handed_results
from dicom_node.settings import Settings
from dicom_node.store import Store
from inference.pipeline import Pipeline


def send_files_of_study(settings: Settings, destination: str, paths: Sequence[Path]) -> Sent:
    """Analyse the files of one study, and send its results to a destination.

    Raises
    ------
    HandedFileError
        Nothing was sent, because of what the files are.
    """
    to = find_destination(settings, destination)
    with closing(Store(settings.database_url)) as store:
        uid = admit_files({path: str(path) for path in paths}, settings, store, to)
    models = settings.models
    pipeline = Pipeline.load(models.bundles, runtime=models.runtime, threads=models.threads)
    with tempfile.TemporaryDirectory(prefix="dicom-node-") as folder, closing(Decoder(settings.analysis)) as decode:
        decisions, made = make_handed_results(paths, Path(folder), pipeline, settings, to, decode=decode)
        results = [
            ResultFile(sop_instance_uid=instance, sop_class_uid=kind, path=Path(folder) / name, may_be_left_out=further)
            for instance, kind, name, further in made
        ]
        return send_handed_results(uid, decisions, results, settings, to)
