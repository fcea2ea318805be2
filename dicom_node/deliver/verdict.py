"""What is proven of a result that was sent, what is still to come, and what will not come."""

from dataclasses import dataclass

from dicom_node.c_find import STUDY_ROOT_FIND
from dicom_node.settings import Destination, Proof
from dicom_node.storage_commitment import PUSH_MODEL
from dicom_node.store import DeliveryState, UnprovenResult
from inference.phrases import Phrase

MOST_ASKS = 3
"""Storage commitment requests for one sending; an archive that has reported on none of them will not."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far the proof of one object is."""

    state: DeliveryState
    """SENT: something is still to come."""
    detail: str = ""
    until: float = 0.0
    """Before this Unix time there is nothing to do but to wait for a report; 0: there is."""


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """One way of proof: there or not wanted, unless it says otherwise."""

    missing: str = ""
    """Why it will not come."""
    waits: bool = False
    until: float = 0.0


def may_be_asked(destination: Destination, sent: UnprovenResult, now: float) -> bool:
    """Tell whether storage commitment is to be asked for, for the first time or again."""
    if destination.commitment is Proof.NEVER or sent.committed_at is not None or sent.asks >= MOST_ASKS:
        return False
    return not _is_waited_for(destination, sent, now)


def judge(destination: Destination, sent: UnprovenResult, missing: frozenset[str], now: float) -> Verdict:
    """Judge one object; `missing` are the SOP classes that its archive was asked for now and does not accept."""
    commitment = _judge_commitment(destination, sent, missing, now)
    finding = _judge_finding(destination, sent, missing)
    for wanted, claim in ((destination.commitment, commitment), (destination.verify, finding)):
        if claim.missing and wanted is Proof.REQUIRED:
            return Verdict(state=DeliveryState.PARKED, detail=Phrase("{what}, which is required", what=claim.missing))
    if finding.waits:
        return Verdict(state=DeliveryState.SENT)
    if commitment.waits:
        return Verdict(
            state=DeliveryState.SENT, detail=Phrase("waits for its storage commitment report"), until=commitment.until
        )
    if commitment.missing and sent.asks >= MOST_ASKS and sent.verified_at is None:
        said = Phrase("{what}, and nothing else proves it", what=commitment.missing)
        return Verdict(state=DeliveryState.PARKED, detail=said)
    remark = commitment.missing or finding.missing
    if commitment.missing and finding.missing:
        remark = Phrase("{first}; {second}", first=commitment.missing, second=finding.missing)
    return Verdict(state=DeliveryState.DELIVERED, detail=remark)


def _judge_commitment(destination: Destination, sent: UnprovenResult, missing: frozenset[str], now: float) -> _Claim:
    if destination.commitment is Proof.NEVER or sent.committed_at is not None:
        return _Claim()
    if PUSH_MODEL in missing:
        return _Claim(missing=Phrase("storage commitment is not offered"))
    if _is_waited_for(destination, sent, now):
        return _Claim(waits=True, until=_deadline(destination, sent))
    if sent.asks >= MOST_ASKS:
        return _Claim(missing=Phrase("no storage commitment after {number} requests", number=sent.asks))
    return _Claim(waits=True)


def _judge_finding(destination: Destination, sent: UnprovenResult, missing: frozenset[str]) -> _Claim:
    if destination.verify is Proof.NEVER or sent.verified_at is not None:
        return _Claim()
    if STUDY_ROOT_FIND in missing:
        return _Claim(missing=Phrase("C-FIND is not offered"))
    return _Claim(waits=True)


def _is_waited_for(destination: Destination, sent: UnprovenResult, now: float) -> bool:
    return sent.transaction_uid is not None and now < _deadline(destination, sent)


def _deadline(destination: Destination, sent: UnprovenResult) -> float:
    return (sent.asked_at or 0.0) + destination.commitment_deadline_s
