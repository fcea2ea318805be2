"""What the processes of the node say on stderr: never the text of an exception, and no record that looks like two."""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

from dicom_node.errors import describe_unforeseen

_LOGGER = logging.getLogger(__name__)

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_CONTINUED = "\n    | "


class DiscreetFormatter(logging.Formatter):
    """Formats records so that neither a library's exceptions nor a sender's values can do harm.

    The text of an exception may quote the data set it is about, so type and frames stand for it, whichever library logs
    it. Lines after the first are marked, and control characters are escaped: what a sender has put into a name cannot
    pass for a record or move a terminal's cursor.
    """

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        """Describe an exception by its type and frames."""
        return describe_unforeseen(ei[1]) if ei[1] is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; the traceback that another handler may have left in it is not taken over."""
        record.exc_text = None
        lines = super().format(record).rstrip("\n").split("\n")
        record.exc_text = None
        return _CONTINUED.join(_escape(line) for line in lines)


def configure_logging(level: int) -> None:
    """Log to stderr from this level on, and let exceptions that nobody caught be logged the same way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(DiscreetFormatter(_FORMAT))
    # pydicom's remarks quote the values they are about, and values are patients' names. The level of its logger would
    # not do: it sets that itself when it is imported.
    handler.addFilter(lambda record: record.name.partition(".")[0] != "pydicom")
    logging.basicConfig(level=level, handlers=[handler])
    # The workflow engine gives its logger a handler, and with it a formatter, unless there is one.
    engine = logging.getLogger("dbos")
    engine.addHandler(handler)
    engine.propagate = False
    # A sweep that is asked for while one runs is left out: the one that runs, or the next, does its work.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # A line for each transfer syntax that it does not know: a megabyte for one request, which anybody may send.
    logging.getLogger("pynetdicom.presentation").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, _traceback: TracebackType | None = None
) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    _LOGGER.error("nobody caught: %s", describe_unforeseen(error) if error is not None else kind.__name__)


def _escape(line: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)
