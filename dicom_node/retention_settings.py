"""`[retention]` of the configuration file: how long the node keeps what it no longer needs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictFloat

Days = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]


class RetentionSettings(BaseModel):
    """`[retention]`: days; 0 keeps for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files_days: Days = 30
    """Received files and results, after every destination provably has all results of the study."""
    records_days: Days = 365
    """Events, storage commitment transactions, and the checkpoints of ended workflows."""
    every_s: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 3600
    """How often the worker looks for what may go."""
