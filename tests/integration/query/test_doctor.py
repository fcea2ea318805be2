import pytest
from archive_bench import ScriptedArchive, build_settings

from dicom_node.demo.archives import find_free_port
from dicom_node.operate.archives import check_archives


@pytest.fixture
def check(tmp_path):
    """Check an archive that offers something, or none."""
    archives = []

    def check_one(*offers, searched=True, **script):
        archives.append(ScriptedArchive(offers=offers, **script))
        settings = build_settings(tmp_path, archives[-1].port, node_port=find_free_port(), timeout_s=10.0)
        if not searched:
            settings = settings.model_copy(update={"reconcile": None})
        (finding,) = check_archives(settings)
        return finding.ok, finding.says

    yield check_one
    for archive in archives:
        archive.stop()


def test_an_archive_that_answers_is_well(check):
    ok, says = check("find", "move")
    assert ok
    assert says.endswith("answers C-FIND and offers C-MOVE")
    ok, says = check("find", searched=False)
    assert ok
    assert says.endswith("answers C-FIND")


@pytest.mark.parametrize(
    ("offers", "status", "reason"),
    [
        (("move",), 0x0000, "does not offer C-FIND"),
        (("find",), 0x0000, "does not offer C-MOVE"),
        (("find", "move"), 0xA700, "status 0xA700"),
        ((), 0x0000, "does not offer C-MOVE"),
    ],
)
def test_an_archive_that_cannot_be_asked_is_named_with_the_reason(check, offers, status, reason):
    ok, says = check(*offers, find_status=status)
    assert not ok
    assert reason in says


def test_an_archive_that_is_away_is_named(tmp_path):
    (finding,) = check_archives(build_settings(tmp_path, find_free_port(), node_port=find_free_port(), timeout_s=5.0))
    assert not finding.ok
    assert "nothing listens there" in finding.says
    assert "FRACTUREAI" in finding.remedy
