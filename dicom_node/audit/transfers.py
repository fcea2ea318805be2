"""What came through one association: counted by study, and noted when the association is over."""

from collections import Counter, defaultdict

from dicom_node.audit.trail import AuditEvent, AuditTrail


class Transfers:
    """Counts the objects of one association. Those that were taken and those that were refused make lines of their own.

    PS3.15 A.5.2 wants it so: no message with mixed results.
    """

    def __init__(self) -> None:
        self._classes: defaultdict[tuple[str, bool], Counter[str]] = defaultdict(Counter)

    def count(self, study_instance_uid: str, sop_class_uid: str, *, success: bool) -> None:
        """Count one object; the Study Instance UID of a refused one may be unknown, and is then empty."""
        self._classes[study_instance_uid, success][sop_class_uid] += 1

    def note(self, trail: AuditTrail, *, peer_ae_title: str, host: str) -> None:
        """Write a line for each study, and begin anew."""
        classes, self._classes = self._classes, defaultdict(Counter)
        for (study, success), counts in classes.items():
            trail.note(
                AuditEvent.INSTANCES_TRANSFERRED,
                direction="in",
                peer_ae_title=peer_ae_title,
                host=host,
                study_instance_uid=study,
                sop_classes=dict(counts),
                success=success,
            )
