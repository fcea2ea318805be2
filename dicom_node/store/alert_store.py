"""What each channel was told of what is wrong: kept, so that a restart repeats nothing."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.schema import alerts

AlertKey = tuple[str, str]
"""Kind and subject of what is wrong."""


@dataclass(frozen=True, kw_only=True)
class ToldAlert:
    """What a channel was told, and has not been told the end of. Times are Unix times in seconds."""

    kind: str
    subject: str
    says: str
    since: float
    told_at: float
    """When it was last told."""
    gone_at: float | None = None
    """When it was first found to be over; None while it holds."""

    @property
    def key(self) -> AlertKey:
        """Kind and subject."""
        return self.kind, self.subject


class AlertStore(Database):
    """What each channel was told."""

    def told_alerts(self, channel: str) -> dict[AlertKey, ToldAlert]:
        """Return what a channel was told and not told the end of."""
        columns = [alerts.c[name] for name in ToldAlert.__dataclass_fields__]
        query = sa.select(*columns).where(alerts.c.channel == channel).order_by(alerts.c.since)
        with self._reading() as connection:
            found = [ToldAlert(**row) for row in connection.execute(query).mappings()]
        return {one.key: one for one in found}

    def record_told(self, channel: str, told: Collection[ToldAlert], over: Collection[AlertKey] = ()) -> None:
        """Record what a channel knows now: new or changed rows, and those whose end it was told."""
        with self._writing() as connection:
            for kind, subject in [*over, *(one.key for one in told)]:
                same = (alerts.c.channel == channel, alerts.c.kind == kind, alerts.c.subject == subject)
                connection.execute(alerts.delete().where(*same))
            for one in told:
                connection.execute(alerts.insert(), {**asdict(one), "channel": channel})
