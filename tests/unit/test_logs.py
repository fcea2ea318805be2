import logging
import subprocess
import sys

import pytest

from dicom_node.logs import DiscreetFormatter

NAME = "CANARYDOE"


def format_record(message, *args, error=None, formatter=DiscreetFormatter):
    """Return what is printed; `error` is an exception that the record carries."""
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("dicom_node", logging.WARNING, "x.py", 1, message, args, info)
    return formatter("%(levelname)s: %(message)s").format(record)


def raised(text):
    """Return an exception with that text, raised while another one was handled."""
    try:
        {}[text]
    except KeyError:
        try:
            int(text)
        except ValueError as error:
            return error


def test_an_exception_is_its_type_and_frames_never_its_text():
    said = format_record("the object was not kept", error=raised(NAME))
    assert "ValueError" in said
    assert "test_logs.py" in said
    assert NAME not in said


def test_the_standard_formatter_would_print_its_text():
    """The negative control."""
    assert NAME in format_record("the object was not kept", error=raised(NAME), formatter=logging.Formatter)


def test_what_another_handler_has_formatted_is_not_taken_over():
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), None)
    error = raised(NAME)
    record.exc_info = (type(error), error, error.__traceback__)
    logging.Formatter().format(record)  # leaves its text in the record
    assert NAME not in DiscreetFormatter().format(record)


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    "value",
    ["A\n2026-01-01 ERROR dicom_node: all is lost", "A\r\nERROR: x", "A\x1b[2JB\x00\x07\x9b1m", "A\u2028\u202eB"],
)
def test_a_value_with_control_characters_stays_one_record_and_moves_no_cursor(value):
    """One record; line ends marked as such, control characters escaped."""
    lines = format_record("association with %s", value).split("\n")
    assert all(line.startswith("    | ") for line in lines[1:])
    assert all(line.isprintable() for line in lines)


UNCAUGHT = """
import logging, pydicom, threading, warnings
thread = threading.Thread(target=int, args=("CANARYTHREAD",)); thread.start(); thread.join()
class A:
    def __del__(self): raise ValueError("CANARYUNRAISABLE")
A()
logging.getLogger("pydicom").error("CANARYPYDICOM")
warnings.warn("CANARYWARNING")
raise ValueError("CANARYMAIN")
"""


@pytest.mark.parametrize("protected", [True, False])
def test_what_nobody_catches_is_not_quoted(protected):
    before = (
        "from dicom_node.logs import configure_logging as f" if protected else "from logging import basicConfig as f"
    )
    command = [sys.executable, "-c", f"{before}; f(level=10)\n{UNCAUGHT}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    quoted = {word for word in ("THREAD", "UNRAISABLE", "PYDICOM", "WARNING", "MAIN") if f"CANARY{word}" in ran.stderr}
    assert quoted == (set() if protected else {"THREAD", "UNRAISABLE", "PYDICOM", "WARNING", "MAIN"})
    assert not protected or ran.stderr.count("nobody caught: ValueError") == 3


def test_the_workflow_engine_logs_as_the_node_does():
    program = (
        "import logging; from dicom_node.logs import configure_logging; configure_logging(logging.INFO)\n"
        "import dbos; from dbos._logger import init_logger; init_logger()\n"
        "try: int('CANARY')\n"
        "except ValueError: logging.getLogger('dbos').exception('a step failed')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stderr.count("a step failed: ") + ran.stderr.count("a step failed\n") == 1
    assert "CANARY" not in ran.stderr.replace("int('CANARY')", "")


def test_a_process_of_the_node_writes_for_its_user_alone_and_leaves_no_core(tmp_path):
    program = (
        "import os, resource; from dicom_node.processes import keep_private; keep_private();"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1';"
        "open('file', 'w').close(); os.mkdir('folder');"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.strip() == "0"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
