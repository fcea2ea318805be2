"""Whatever fails over a study, and whatever its exception says: log, database and audit trail do not repeat it."""

import logging

import pytest
from analysing import ScriptedPipeline
from builders import build_dx, phantom
from canary import files_below, leaks, make_canary, word
from result_bench import Bench

import dicom_node.analyse.analysis
import dicom_node.result_sets
from dicom_node.logs import DiscreetFormatter

pytestmark = pytest.mark.fault(67)


def fail(*_, **__):
    raise ValueError(f"cannot convert {word(1)!r} of patient {word(2)}")


def set_up_model(_monkeypatch):
    return ScriptedPipeline(fail)


def set_up_selection(monkeypatch):
    monkeypatch.setattr(dicom_node.result_sets, "select_radiographs", fail)
    return ScriptedPipeline()


def set_up_encoding(monkeypatch):
    encode = dicom_node.result_sets.encode_and_keep
    answers = iter([fail, encode])

    def fail_once(*arguments, **options):
        return next(answers)(*arguments, **options)

    monkeypatch.setattr(dicom_node.result_sets, "encode_and_keep", fail_once)
    return ScriptedPipeline()


def set_up_decoding(monkeypatch):
    monkeypatch.setattr(dicom_node.analyse.analysis, "describe_laterality_conflict", fail)
    return ScriptedPipeline()


FAILURES = [set_up_model, set_up_selection, set_up_encoding, set_up_decoding]


def said_of(folder, caplog, monkeypatch, set_up):
    """Make the results of a canary study while something fails; return everything that was said about it."""
    bench = Bench(folder, set_up(monkeypatch))
    ds = make_canary(build_dx(phantom(96, 72)))
    bench.receive(ds)
    formatter = DiscreetFormatter("%(name)s %(message)s")
    with caplog.at_level(logging.DEBUG):
        bench.paths(ds.StudyInstanceUID)
    bench.store.close()
    log = "\n".join(formatter.format(record) for record in caplog.records)
    said = files_below(folder, without=(bench.settings.spool_dir, bench.settings.results_dir))
    return bench, [*said, ("log", log.encode())]


@pytest.mark.parametrize("set_up", FAILURES)
def test_a_failure_is_logged_and_reported_without_its_text(tmp_path, caplog, monkeypatch, set_up):
    """The study gets a report that says "not analysed", the log says where it failed; nothing repeats the exception."""
    bench, said = said_of(tmp_path, caplog, monkeypatch, set_up)
    assert {finding.decision for finding in bench.findings} == {"not analysed"}
    assert "ValueError" in dict(said)["log"].decode()
    assert {name for name, _ in said} > {"node.sqlite", "log"}
    assert any(name.startswith("audit/") for name, _ in said)
    assert leaks(said) == {}


@pytest.mark.parametrize("set_up", FAILURES)
def test_the_text_would_get_out_otherwise(tmp_path, caplog, monkeypatch, set_up):
    """The negative control: with the exceptions' own texts in their place, the same search finds the words."""
    for module in (dicom_node.result_sets, dicom_node.analyse.analysis):
        monkeypatch.setattr(module, "describe_unforeseen", repr)
    _, said = said_of(tmp_path, caplog, monkeypatch, set_up)
    assert "log" in leaks(said)
