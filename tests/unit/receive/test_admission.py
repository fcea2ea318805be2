import ipaddress
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pynetdicom.timer import Timer

from dicom_node.receive.admission import AssociationLimit, DiskWatermark, SenderList
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.settings import Sender
from dicom_node.tls import PeerCertificate
from dicom_node.upper_layer.connection import MonotonicTimer

HOSPITAL = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("2001:db8::/32"))


def test_a_sender_without_networks_may_come_from_anywhere() -> None:
    senders = SenderList([Sender(ae_title="PACS")])
    assert senders.may_connect("192.0.2.1")
    assert senders.may_send("PACS", "192.0.2.1")
    assert not senders.may_send("pacs", "192.0.2.1")
    assert not senders.may_send("", "192.0.2.1")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.1.2.3", True),
        ("10.2.2.3", False),
        ("2001:db8::1", True),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", False),
    ],
)
def test_a_sender_with_networks_may_come_from_them_only(host: str, expected: bool) -> None:
    senders = SenderList([Sender(ae_title="PACS", networks=HOSPITAL)])
    assert senders.may_send("PACS", host) is expected
    assert senders.may_connect(host) is expected


def test_a_sender_with_a_certificate_must_show_that_one() -> None:
    right, wrong = (PeerCertificate(subject=f"CN={name}", sha256=name * 64) for name in "ab")
    for named in ("CN=a", "a" * 64):
        senders = SenderList([Sender(ae_title="PACS", networks=HOSPITAL, certificate=named)])
        assert senders.may_send("PACS", "10.1.2.3", right)
        assert not senders.may_send("PACS", "192.0.2.1", right)
        assert not senders.may_send("PACS", "10.1.2.3", wrong)
        assert not senders.may_send("PACS", "10.1.2.3")


@pytest.mark.parametrize("order", [1, -1])
def test_entries_of_one_title_add_up(order: int) -> None:
    narrow = [Sender(ae_title="PACS", networks=(network,)) for network in HOSPITAL]
    assert SenderList(narrow[::order]).may_send("PACS", "10.1.2.3")
    wide = [Sender(ae_title="PACS"), Sender(ae_title="PACS", networks=HOSPITAL)]
    assert SenderList(wide[::order]).may_send("PACS", "192.0.2.1")


def test_associations_are_counted_in_all_and_for_each_address(tmp_path: Path) -> None:
    limit = AssociationLimit(tmp_path / "lock", maximum=3, maximum_per_address=2)
    assert [limit.enter(host) for host in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    limit.leave("a")
    assert [limit.enter("b"), limit.enter("a")] == [True, False]
    limit.close()
    limit.leave("b")


def test_what_other_processes_have_counts_until_they_end(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dicom_node.receive.admission import AssociationLimit\n"
        "limit = AssociationLimit(Path(sys.argv[1]), 3, 2)\n"
        "print(*[limit.enter(host) for host in 'aab'], flush=True); sys.stdin.read()"
    )
    limit = AssociationLimit(tmp_path / "lock", maximum=3, maximum_per_address=2)
    assert limit.enter("a")
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == ["True", "False", "True"]
        assert [limit.enter(host) for host in "abc"] == [False, False, False]
        other.kill()
    assert [limit.enter(host) for host in "abc"] == [True, True, False]
    limit.close()


def test_the_watermark_speaks_of_the_disk_it_stands_on(tmp_path: Path) -> None:
    DiskWatermark(tmp_path, 1).check()
    with pytest.raises(RefusedError) as refused:
        DiskWatermark(tmp_path, 1e18).check()
    assert refused.value.status is StoreStatus.OUT_OF_RESOURCES


@pytest.mark.fault(24)
def test_a_step_of_the_wall_clock_ends_no_association(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, stock = MonotonicTimer(60), Timer(60)
    ours.start()
    stock.start()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert stock.expired
    assert not ours.expired
    assert 59 < ours.remaining <= 60


def test_the_timer_counts_from_start_to_stop() -> None:
    timer = MonotonicTimer(0.01)
    assert (timer.expired, timer.remaining) == (False, 0.01)
    timer.start()
    time.sleep(0.02)
    timer.stop()
    assert timer.expired
    assert MonotonicTimer(None).remaining == 1
