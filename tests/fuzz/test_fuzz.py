"""Whatever comes over the wire, the node neither crashes nor hangs nor grows, and answers with a status.

Few cases in the tests, `FUZZ_CASES` of them by `make fuzz`. A case is made from its number and `FUZZ_SEED` alone.
"""

import itertools
import os
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from builders import build_dx, phantom
from chaos_bench import say
from fuzzing import INTERESTING, converse, hear_out, put_together, spoil, spoil_bytes, take_apart
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from raw_peer import DX, EXPLICIT, RELEASE_RP, RawPeer, status_of
from receiver_process import ReceiverProcess
from result_bench import Bench

from dicom_node.receive.header import read_header
from dicom_node.receive.status import RefusedError, StoreStatus
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles

CASES = int(os.environ.get("FUZZ_CASES", "400"))
SEED = os.environ.get("FUZZ_SEED", "1")
CONVERSATIONS, DATA_SETS, ANALYSES = CASES * 60 // 100, CASES * 36 // 100, CASES * 4 // 100
GROWTH_MB = 25
"""Most that a process may grow by over a run, however long: more than allocators and caches take, less than a leak."""


@pytest.fixture
def receiver(tmp_path):
    running = ReceiverProcess(tmp_path)
    yield running
    running.stop()


def check_unharmed(receiver, memory_mb):
    """No process has died or grown, nothing half received is left; return by how many megabytes each has changed."""
    growth = [now - then for now, then in zip(receiver.memory_mb(), memory_mb, strict=True)]
    assert max(growth) < GROWTH_MB
    assert psutil.Process(receiver.process.pid).children() == receiver.children
    assert "Traceback" not in receiver.log
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", receiver.log), "what a peer says controls the log"
    assert list((receiver.settings.node.spool_dir / ".incoming").rglob("*.part")) == []
    return " ".join(f"{one:+.1f} MB" for one in growth)


# PDUs and DIMSE


def test_spoiled_conversations_end_and_do_no_harm(receiver):
    """Every spoiled conversation is ended by the receiver, whose processes live on, as large as before."""

    def hold(number):
        chance = random.Random(f"{SEED} {number}")  # noqa: S311  # chance that can be had again, not a secret
        ds = build_dx(np.zeros((32, 32), np.uint16))
        try:
            return hear_out(receiver.port, spoil(converse(ds, chance), chance))
        except (TimeoutError, AssertionError) as error:
            pytest.fail(f"case {number} of seed {SEED}: {error!r}")

    with ThreadPoolExecutor(8) as pool:
        warm_up = CONVERSATIONS // 4
        ends = Counter(pool.map(hold, range(warm_up)))
        descriptors, memory_mb = receiver.descriptors(), receiver.memory_mb()
        ends += Counter(pool.map(hold, range(warm_up, CONVERSATIONS)))
    # Each thread's connection to the database may be kept.
    assert all(now <= then + 8 for now, then in zip(receiver.descriptors(), descriptors, strict=True))
    growth = check_unharmed(receiver, memory_mb)
    say(f"{CONVERSATIONS} spoiled conversations: {dict(ends)}; {growth}")
    assert ends.total() == CONVERSATIONS
    # The mutations reach all depths: requests that are refused, and conversations that come to their end.
    assert set(ends) >= {"aborted", "released", "closed"}


def test_a_sound_conversation_is_released(receiver):
    """The ends above say something: what is not spoiled comes to another end than most of what is."""
    ds = build_dx(np.zeros((32, 32), np.uint16))
    pdus = converse(ds, random.Random(0), sound=True)  # noqa: S311  # as above
    assert hear_out(receiver.port, pdus) == "released"
    assert len(list(receiver.settings.node.spool_dir.glob("*/*.dcm"))) == 1


# Data sets

TAGS = st.one_of(
    st.sampled_from([element[0] for element in take_apart(build_dx(np.zeros((4, 4), np.uint16)))]),
    st.binary(min_size=4, max_size=4),
)
VRS = st.one_of(
    st.sampled_from(
        [
            vr.encode()
            for vr in [
                "AE",
                "AS",
                "AT",
                "CS",
                "DA",
                "DS",
                "DT",
                "FD",
                "FL",
                "IS",
                "LO",
                "LT",
                "OB",
                "OW",
                "PN",
                "SH",
                "SL",
                "SQ",
                "SS",
                "ST",
                "TM",
                "UC",
            ]
        ]
    ),
    st.sampled_from([vr.encode() for vr in ["UI", "UL", "UN", "UR", "US", "UT", "SV", "OV"]]),
    st.binary(min_size=2, max_size=2),
)
VALUES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from(["\x1b$B;3ED\x1b(B", "\\" * 30, "=^=^=", "1e999", "-0", "NaN", "\0" * 9, "9" * 70]).map(str.encode),
    st.integers(1, 40).map(
        lambda depth: b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" * depth
    ),
)
ELEMENTS = st.tuples(TAGS, VRS, VALUES, st.one_of(st.none(), st.none(), st.sampled_from(INTERESTING)))


UID = "1.2.3.1000000000000000"
IDENTITY = {b"\x08\0\x16\0", b"\x08\0\x18\0", b"\x20\0\x0d\0", b"\x20\0\x0e\0"}
"""SOP Class, SOP Instance, Study and Series Instance UID: what an object is not kept without."""


@st.composite
def spoiled_data_sets(draw, pixels, *, identified=False):
    """Draw a data set that was sound: elements changed, added, left out, out of order; its bytes changed or cut.

    Where it is `identified`, its identity is what it was, so that most are kept.
    """
    chance = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311  # drawn by hypothesis
    elements = take_apart(build_dx(pixels, StudyInstanceUID=UID, SeriesInstanceUID=UID, SOPInstanceUID=UID))
    identity = [element for element in elements if element[0] in IDENTITY]
    for element in draw(st.lists(ELEMENTS, max_size=4)):
        match draw(st.integers(0, 4)):
            case 0:
                elements.append(element)
            case 1:
                elements.insert(draw(st.integers(0, len(elements))), element)
            case 2 if elements:
                elements[draw(st.integers(0, len(elements) - 1))] = element
            case 3 if elements:
                tag, vr, _, _ = elements[at := draw(st.integers(0, len(elements) - 1))]
                elements[at] = (tag, vr, element[2], element[3])
            case _ if elements:
                elements.pop(draw(st.integers(0, len(elements) - 1)))
    if identified:
        elements = identity + [element for element in elements if element[0] not in IDENTITY]
    if identified or draw(st.booleans()):
        elements.sort(key=lambda element: (element[0][:2][::-1], element[0][2:][::-1]))
    content = put_together(elements)
    if draw(st.integers(0, 7 if identified else 3)) == 0:
        content = spoil_bytes(content, chance)
    return draw(st.binary(max_size=300)) if draw(st.integers(0, 30)) == 0 else content


NUMBERS = itertools.count(1_000_000_000_000_000)


def renewed(content):
    """Give a drawn data set UIDs of its own, which hypothesis cannot draw twice."""
    return content.replace(UID.encode(), f"1.2.3.{next(NUMBERS)}".encode())


def fuzzed(count):
    """Let hypothesis draw that many cases, the same ones for the same seed."""
    chosen = settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return lambda test: seed(SEED)(chosen(test))


def test_every_data_set_is_answered_with_a_status_and_the_association_goes_on(receiver):
    """Whatever a data set holds, its C-STORE is answered with a status of this node on an association that lives."""
    statuses = Counter()
    allowed = set(StoreStatus) - {StoreStatus.PROCESSING_FAILURE, StoreStatus.OUT_OF_RESOURCES}
    with RawPeer(receiver.port, timeout_s=60).associate([(DX, [EXPLICIT])]) as peer:

        @fuzzed(DATA_SETS)
        @given(spoiled_data_sets(np.zeros((8, 8), np.uint16)))
        def store(content):
            content = renewed(content)
            uid = _instance_uid(content)
            status = status_of(peer.store(content, sop_instance=uid))
            statuses[f"{status:04X}"] += 1
            assert status in allowed

        memory_mb = receiver.memory_mb()
        store()
        assert peer.release() == RELEASE_RP
    check_unharmed(receiver, memory_mb)
    say(f"{statuses.total()} data sets: {dict(statuses)}")
    # Some are kept, some are not: the mutations spoil neither all nor nothing.
    assert statuses["0000"] > statuses.total() / 20
    assert statuses.total() - statuses["0000"] > statuses.total() / 20


def _instance_uid(content):
    """Find the SOP Instance UID as a sender would, so that most commands say the same as their data set."""
    try:
        return read_header(
            lambda offset, length: content[offset : offset + length], len(content), ExplicitVRLittleEndian
        ).sop_instance_uid
    except RefusedError:
        return "1.2.3"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return Pipeline.load(build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG"), threads=1)


def test_every_data_set_that_is_kept_gets_its_report(tmp_path, pipeline):
    """Whatever a kept data set holds, its study ends with exactly one report and a finding for its image."""
    bench, ends = Bench(tmp_path, pipeline), Counter()

    @fuzzed(ANALYSES)
    @given(spoiled_data_sets(phantom(128, 100), identified=True))
    def make(content):
        content = renewed(content)
        try:
            header = read_header(
                lambda offset, length: content[offset : offset + length], len(content), ExplicitVRLittleEndian
            )
        except RefusedError:
            ends["refused"] += 1
            return
        ds = Dataset()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = header.study_instance_uid, header.series_instance_uid
        ds.SOPClassUID, ds.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
        bench.receive(ds, content)
        *captures, report = bench.make(ds.StudyInstanceUID)
        assert report.Modality == "DOC"
        assert all(capture.Modality == "OT" for capture in captures)
        ends[bench.findings[0].decision] += 1

    make()
    bench.store.close()
    say(f"{ends.total()} data sets analysed: {dict(ends)}")
    assert ends.total() > ends["refused"]
