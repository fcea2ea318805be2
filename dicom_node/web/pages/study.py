"""The page of one study: pictures, findings, report, what happened, what may be done."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse

from dicom_node.audit import PersonAction
from dicom_node.encode.sop_classes import list_profiles
from dicom_node.errors import StudyError
from dicom_node.operate.identities import Identity
from dicom_node.operate.pictures import read_report
from dicom_node.operate.study import find_entry, identify, look_at_study
from dicom_node.store import WorklistEntry
from dicom_node.values import ResultKind
from dicom_node.web.access import AnyUser, Operator, OwnForm, Reader
from dicom_node.web.roles import Permission, may
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import render
from inference.phrases import Phrase

router = APIRouter(prefix="/study/{uid}", include_in_schema=False)


@router.get("")
def show_study(request: Request, site: TheSite, visitor: AnyUser, uid: str, said: str = "") -> Response:
    """Show the page."""
    shown = look_at_study(site.settings, site.store, uid)
    if shown is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    patients: list[Identity] = []
    if may(visitor.user.role, Permission.SEE_PATIENTS):
        patients = identify(shown.received, site.settings.node.spool_dir)
        site.note_view(visitor, PersonAction.VIEW_STUDY, uid)
    return render(
        request,
        "study.html",
        visitor=visitor,
        entry=shown.entry,
        patients=patients,
        images=shown.images,
        reports=[one.sop_instance_uid for one in shown.reports],
        timeline=shown.timeline,
        others=shown.others,
        can_retry=shown.can_retry,
        said=_SAID.get(said, ""),
    )


@router.get("/image/{sop_instance_uid}")
def show_original(site: TheSite, visitor: Reader, uid: str, sop_instance_uid: str) -> Response:
    """Return a received radiograph as PNG."""
    instance = next((one for one in site.store.instances_of(uid) if one.sop_instance_uid == sop_instance_uid), None)
    if instance is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    site.note_pictures(visitor, uid)
    return _picture(site.pictures.original, site.settings.node.spool_dir / instance.path)


@router.get("/overlay/{sop_instance_uid}")
def show_overlay(site: TheSite, visitor: Reader, uid: str, sop_instance_uid: str) -> Response:
    """Return a Secondary Capture as PNG."""
    path = _result_path(site, uid, sop_instance_uid, ResultKind.SECONDARY_CAPTURE)
    site.note_pictures(visitor, uid)
    return _picture(site.pictures.overlay, path)


@router.get("/report/{sop_instance_uid}")
def show_report(site: TheSite, visitor: Reader, uid: str, sop_instance_uid: str) -> Response:
    """Return a report as PDF."""
    path = _result_path(site, uid, sop_instance_uid, ResultKind.ENCAPSULATED_PDF)
    try:
        document = read_report(path)
    except OSError:
        raise HTTPException(status.HTTP_404_NOT_FOUND, Phrase("Its file is no longer kept.")) from None
    site.note_view(visitor, PersonAction.VIEW_REPORT, uid)
    headers = {"Content-Disposition": 'inline; filename="report.pdf"'}
    return Response(document, media_type="application/pdf", headers=headers)


@router.post("/retry", dependencies=[OwnForm])
def retry(site: TheSite, visitor: Operator, uid: str) -> Response:
    """Try again what has failed or is parked."""
    _find(site, uid)
    count = site.store.retry(uid)
    if count:
        site.note(visitor, "retry", study_instance_uid=uid, destination=None)
    return _back(uid, "retried" if count else "nothing")


@router.post("/complete", dependencies=[OwnForm])
def complete(site: TheSite, visitor: Operator, uid: str) -> Response:
    """Wait for no more images."""
    _find(site, uid)
    found = site.store.force_completion(uid)
    if found:
        site.note(visitor, "complete", study_instance_uid=uid)
    return _back(uid, "completed" if found else "nothing")


@router.post("/send", dependencies=[OwnForm])
def send(site: TheSite, visitor: Operator, uid: str, destination: Annotated[str, Form()] = "") -> Response:
    """Send the results to a destination that was not to get them."""
    _find(site, uid)
    profiles = list_profiles(site.settings)
    if destination not in profiles:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, Phrase("There is no such destination."))
    count = site.store.send(uid, destination, profiles[destination])
    if count:
        site.note(visitor, "send", study_instance_uid=uid, destination=destination)
    return _back(uid, "sent" if count else "nothing")


_SAID = {
    "retried": Phrase("It will be tried again."),
    "completed": Phrase("It will be analysed with the images that have come."),
    "sent": Phrase("The results will be sent there."),
    "nothing": Phrase("There was nothing to do."),
}


def _back(uid: str, said: str) -> Response:
    return RedirectResponse(f"/study/{uid}?said={said}", status.HTTP_303_SEE_OTHER)


def _find(site: Site, uid: str) -> WorklistEntry:
    entry = find_entry(site.store, uid)
    if entry is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return entry


def _result_path(site: Site, uid: str, sop_instance_uid: str, kind: ResultKind) -> Path:
    """Say where a result is; by the node's own rows, so that an address names no path."""
    entry = _find(site, uid)
    found = next(
        (
            row
            for row in site.store.results_of(uid, entry.digest)
            if row.sop_instance_uid == sop_instance_uid and row.kind == kind
        ),
        None,
    )
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return site.settings.node.results_dir / found.path


def _picture(render_file: Callable[[Path], bytes], path: Path) -> Response:
    if not path.is_file():
        raise HTTPException(status.HTTP_404_NOT_FOUND, Phrase("Its file is no longer kept."))
    try:
        return Response(render_file(path), media_type="image/png")
    except StudyError as error:
        said = Phrase("There is no picture: {why}.", why=error.args[0])
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, said) from None
    except OSError:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, Phrase("The picture cannot be made now.")) from None
