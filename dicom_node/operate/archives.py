"""The doctor's check of the archives that the node asks and fetches from."""

from collections.abc import Iterator

from dicom_node.errors import AssociationError, QueryError
from dicom_node.operate.finding import Finding
from dicom_node.query.session import open_session
from dicom_node.settings import Settings


def check_archives(settings: Settings) -> Iterator[Finding]:
    """Check that each archive that is asked answers a C-FIND, and that each that is searched offers C-MOVE too."""
    searched = settings.reconcile.archives if settings.reconcile else ()
    for name in sorted({*settings.archives_by_sender.values(), *searched}):
        archive = settings.archives_by_name[name]
        where = f"{archive.ae_title} at {archive.host}:{archive.port}"
        try:
            with open_session(archive, settings.node.ae_title) as session:
                session.verify(moves=name in searched)
        except (AssociationError, QueryError) as error:
            remedy = f"let it answer queries (Study Root) of {settings.node.ae_title}; check host, port and AE title"
            says = f"{where}: {str(error).removeprefix(f'{name}: ')}"
            yield Finding(subject=f"archive {name}", ok=False, says=says, remedy=remedy)
        else:
            offers = "answers C-FIND and offers C-MOVE" if name in searched else "answers C-FIND"
            yield Finding(subject=f"archive {name}", ok=True, says=f"{where} {offers}")
