"""What the pages have in common: configuration, state, who is signed in."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.settings import Settings
from dicom_node.store import Accounts, Store
from dicom_node.web.examination import Examination
from dicom_node.web.first_run import FirstRun
from dicom_node.web.identities import Identities
from dicom_node.web.pictures import Pictures
from dicom_node.web.predictions import Predictions
from dicom_node.web.rule_tester import RuleTester
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

    def close(self) -> None:
        """End what runs beside the pages."""
        self.identities.close()
        self.pictures.close()
        self.predictions.close()
        self.rule_tester.close()

    def note(self, visitor: Visitor, action: str, **facts: str | None) -> None:
        """Write a line of the audit trail: what a user has done or seen."""
        self.trail.note(AuditEvent.OPERATOR, user=visitor.user.name, action=action, **facts)


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
