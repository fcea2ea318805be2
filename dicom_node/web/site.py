"""What the pages have in common: configuration, state, who is signed in."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from dicom_node.audit import AuditEvent, AuditTrail, PersonAction
from dicom_node.operate.identities import Identities
from dicom_node.operate.pictures import Pictures
from dicom_node.settings import Settings
from dicom_node.store import Accounts, Store
from dicom_node.web.examination import Examination
from dicom_node.web.first_run import FirstRun
from dicom_node.web.predictions import Predictions
from dicom_node.web.rule_tester import RuleTester
from dicom_node.web.seen import Seen
from dicom_node.web.sign_in import SignIn, Visitor


@dataclass(frozen=True, kw_only=True)
class Site:
    """The web process of one node."""

    settings: Settings
    store: Store
    accounts: Accounts
    sign_in: SignIn
    first_run: FirstRun
    identities: Identities
    pictures: Pictures
    predictions: Predictions
    rule_tester: RuleTester
    examination: Examination
    trail: AuditTrail
    seen: Seen = field(default_factory=Seen)

    def close(self) -> None:
        """End what runs beside the pages."""
        self.identities.close()
        self.pictures.close()
        self.predictions.close()
        self.rule_tester.close()

    def note(self, visitor: Visitor, action: str, **facts: str | None) -> None:
        """Write a line of the audit trail: what a user has had done."""
        self._note(AuditEvent.OPERATOR, visitor, action=action, **facts)

    def note_account(self, visitor: Visitor, action: PersonAction, subject: str, **facts: str) -> None:
        """Write a line of the audit trail: what a user has done to an account."""
        self._note(AuditEvent.USER_ADMINISTRATION, visitor, action=action, subject=subject, **facts)

    def note_view(self, visitor: Visitor, action: PersonAction, study_instance_uid: str) -> None:
        """Write a line of the audit trail: a user sees a study, and whose it is."""
        self._note(AuditEvent.STUDY_VIEWED, visitor, action=action, study_instance_uid=study_instance_uid)

    def note_pictures(self, visitor: Visitor, study_instance_uid: str) -> None:
        """Write a line where a session sees the first picture of a study."""
        if self.seen.add(visitor.form_token, "pictures", [study_instance_uid]):
            self.note_view(visitor, PersonAction.VIEW_PICTURE, study_instance_uid)

    def note_listing(self, visitor: Visitor, action: PersonAction, study_instance_uids: Collection[str]) -> None:
        """Write a line where a list shows names that the session has not been shown before."""
        if new := self.seen.add(visitor.form_token, "names", study_instance_uids):
            self._note(AuditEvent.PATIENTS_LISTED, visitor, action=action, study_instance_uids=new)

    def _note(self, event: AuditEvent, visitor: Visitor, **facts: object) -> None:
        self.trail.note(event, user=visitor.user.name, host=visitor.address, **facts)


def build_site(settings: Settings, store: Store, accounts: Accounts) -> Site:
    """Put together what the pages need."""
    trail = AuditTrail(settings.node.audit_dir, settings.node.ae_title)
    return Site(
        settings=settings,
        store=store,
        accounts=accounts,
        sign_in=SignIn(accounts, settings.web, trail),
        first_run=FirstRun(settings.node.first_run_file, accounts),
        identities=Identities(store, settings.node.spool_dir),
        pictures=Pictures(settings.analysis),
        predictions=Predictions(settings),
        rule_tester=RuleTester(settings),
        examination=Examination(settings),
        trail=trail,
    )


def get_site(request: Request) -> Site:
    """Return the site that a request is for."""
    return cast("Site", request.app.state.site)


TheSite = Annotated[Site, Depends(get_site)]
