"""Results of files that a person hands over, sent to the one destination that the person names.

Such files are no part of the node's line: they are not kept, make no study of the worklist, and are sent nowhere else.
They pass what an object passes that is received, and more: what would be kept and never answered is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from dicom_node.assemble.rules import choose_rule
from dicom_node.assemble.selection import select_radiographs
from dicom_node.assemble.study import read_instance, reading_order
from dicom_node.deliver import Delivery, ResultFile, send_now
from dicom_node.errors import NodeError
from dicom_node.header import tolerate
from dicom_node.receive.archive import role_for
from dicom_node.receive.header import Header, read_file_header
from dicom_node.receive.presentation import STORAGE_CLASSES, TRANSFER_SYNTAXES
from dicom_node.receive.status import RefusedError
from dicom_node.settings import Action, Destination, Settings
from dicom_node.store import DeliveryState, InstanceRole, Store, revision_digest
from dicom_node.values import Study
from inference.phrases import Phrase


class HandedFileError(NodeError):
    """Nothing was sent, because of what these files are; the message says why, without patient data."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What came of sending the results of one study."""

    study_instance_uid: str
    destination: str
    decisions: tuple[str, ...]
    """What was said of each image."""
    deliveries: tuple[Delivery, ...]
    """What the destination answered to each result."""

    @property
    def taken(self) -> int:
        """Results that the destination has taken."""
        return sum(one.state is DeliveryState.SENT for one in self.deliveries)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why others were not, each reason once."""
        expected = {DeliveryState.SENT, DeliveryState.LEFT_OUT}
        return tuple(dict.fromkeys(one.detail for one in self.deliveries if one.state not in expected))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Which further forms of the answer the destination does not accept."""
        return tuple(dict.fromkeys(one.detail for one in self.deliveries if one.state is DeliveryState.LEFT_OUT))


def find_destination(settings: Settings, name: str) -> Destination:
    """Return a destination by its name; HandedFileError where there is none."""
    found = next((one for one in settings.destinations if one.name == name), None)
    if found is None:
        raise HandedFileError(Phrase("there is no such destination"))
    return found


def admit_files(files: Mapping[Path, str], settings: Settings, store: Store, destination: Destination) -> str:
    """Check whether results of these files may be sent; returns the Study Instance UID.

    Parameters
    ----------
    files
        What each file is called in an error.

    Raises
    ------
    HandedFileError
        One of them is no radiograph that an archive could have sent, they are of several studies, a rule leaves the
        study out or sends its results elsewhere, or the node has the study already.
    """
    headers = [_admit(path, name, settings, store) for path, name in files.items()]
    studies = {header.study_instance_uid for header in headers}
    if len({header.sop_instance_uid for header in headers}) != len(headers):
        raise HandedFileError(Phrase("one image is there twice"))
    if len(studies) != 1:
        raise HandedFileError(Phrase("the files are of several studies: send the results of one study at a time"))
    (uid,) = studies
    if store.find_study(uid) is not None:
        raise HandedFileError(
            Phrase("the node has received this study: its results are sent from its own page, or by `send`")
        )
    with tolerate():
        study = read_handed_study(list(files))
        selection = select_radiographs(study)
        if not selection.radiographs:
            raise HandedFileError(Phrase("nothing of it is analysed: {why}", why=selection.excluded[0].reason))
        _check_rules(study, settings, destination)
    return uid


def read_handed_study(paths: Sequence[Path]) -> Study:
    """Read the headers of files of one study."""
    instances = tuple(sorted(map(read_instance, paths), key=reading_order))
    return Study(
        study_instance_uid=str(instances[0].header.StudyInstanceUID).strip(" \0"),
        revision=revision_digest(one.sop_instance_uid for one in instances),
        version=1,
        created_at=datetime.now(UTC),
        instances=instances,
    )


def send_handed_results(
    study_instance_uid: str,
    decisions: Sequence[str],
    files: Sequence[ResultFile],
    settings: Settings,
    destination: Destination,
) -> Sent:
    """Send results once, now: whoever asked sees what came of it and may ask again."""
    deliveries = send_now(destination, settings.node, study_instance_uid, files)
    return Sent(
        study_instance_uid=study_instance_uid,
        destination=destination.name,
        decisions=tuple(decisions),
        deliveries=tuple(deliveries),
    )


def _admit(path: Path, name: str, settings: Settings, store: Store) -> Header:
    """Check one file as a C-STORE is checked."""
    if path.stat().st_size > settings.receive.maximum_object_mb * 1e6:
        raise _refuse(name, Phrase("the object is larger than this node takes"))
    try:
        header = _read_header(path)
    except RefusedError as refusal:
        raise _refuse(name, refusal.comment) from None
    except HandedFileError as error:
        raise _refuse(name, error.args[0]) from None
    except Exception:  # noqa: BLE001 - whatever a file that is none of DICOM makes the parser do
        why = Phrase("it is no DICOM file: a picture names no patient and no study that a result could be filed in")
        raise _refuse(name, why) from None
    if role_for(header, store) is InstanceRole.OWN_RESULT:
        raise _refuse(name, Phrase("it is a result of this node"))
    if header.sop_class_uid not in STORAGE_CLASSES or not header.is_radiograph:
        raise _refuse(name, Phrase("it is no radiograph"))
    return header


def _refuse(name: str, why: str) -> HandedFileError:
    return HandedFileError(Phrase("{name}: {why}", name=name, why=why))


def _read_header(path: Path) -> Header:
    meta = read_file_meta_info(path)
    syntax = UID(meta.TransferSyntaxUID)
    if syntax not in TRANSFER_SYNTAXES:
        raise HandedFileError(Phrase("the transfer syntax is none that this node accepts"))
    return read_file_header(path, syntax)


def _check_rules(study: Study, settings: Settings, destination: Destination) -> None:
    rule = choose_rule(settings.rules, study)
    if rule is None:
        return
    if rule.action is Action.EXCLUDE:
        raise HandedFileError(Phrase("the rule '{rule}' of this site leaves the study out", rule=rule.name))
    if rule.destinations and destination.name not in rule.destinations:
        said = Phrase("the rule '{rule}' of this site sends its results to other destinations", rule=rule.name)
        raise HandedFileError(said)
