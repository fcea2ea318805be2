"""`/healthz` and `/readyz`, for whoever watches the node: no sign-in, no patient data."""

from dataclasses import asdict

from fastapi import APIRouter, Response, status

from dicom_node import __version__
from dicom_node.operate.health import check_readiness
from dicom_node.web.site import TheSite

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the web process answers."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", responses={503: {"description": "one of them does not do its work"}})
def readyz(response: Response, site: TheSite) -> dict[str, bool]:
    """Say whether receiver, worker and disk do their work."""
    readiness = check_readiness(site.settings)
    if not readiness.is_ready:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return asdict(readiness)
