"""`[retention]` of the configuration file: how long the node keeps what it no longer needs."""

from dicom_node.settings.table import Days, Seconds, Table


class RetentionSettings(Table):
    """`[retention]`: days; 0 keeps for ever."""

    files_days: Days = 30
    """Received files and results, after every destination has proven that it has all results of the study."""
    records_days: Days = 365
    """Events, storage commitment transactions, and the checkpoints of ended workflows."""
    every_s: Seconds = 3600
    """How often the worker looks for what may go, and asks again who could not prove to have the results."""
