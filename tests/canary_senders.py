"""What senders bring the node that the canary passes: refused objects, objects that make trouble, TLS in disorder."""

import os
import subprocess
import sys
from contextlib import suppress

from builders import build_sc, build_sr, encapsulated
from canary import files_below, leaks, make_canary, word
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless
from raw_peer import CR, DX, EXPLICIT, RawPeer, status_of
from receiving import encode
from result_bench import write
from running import wait_for

from dicom_node.demo.archives import find_free_port
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME

HOSTILE = {
    Tag(0x00200013): ("IS", word(9200).encode()),
    Tag(0x00281050): ("DS", word(9201).encode()),
    Tag(0x00080020): ("DA", word(9202).encode()),
    Tag(0x00100020): ("SQ", word(9203).encode()),
    Tag(0x00080005): ("CS", word(9204).encode()),
}
"""Values that do not convert: what a parser says about them may quote them."""


def refuse(scene, small):
    """Let the node refuse an object for each reason that there is."""
    ds = make_canary(small)
    bare = {keyword: make_canary(small) for keyword in ("StudyInstanceUID", "SeriesInstanceUID")}
    for keyword, one in bare.items():
        delattr(one, keyword)
    statuses = {
        "no UID": scene.store(ds, sop_instance=word(9500)),
        "a path": scene.store(ds, sop_instance=f"../{word(9501)}\n{word(9502)}"),
        "UID in the data set": scene.store(ds, encode(make_canary(small, StudyInstanceUID=word(9503)))),
        "another instance": scene.store(ds, encode(make_canary(small))),
        "another class": scene.store(ds, sop_class=CR),
        "empty": scene.store(ds, b""),
        "no DICOM": scene.store(ds, word(9504).encode() * 100),
        "another syntax": scene.store(ds, encode(ds), syntax="1.2.840.10008.1.2"),
        "too large": scene.store(ds, encode(ds) + bytes(21_000_000)),
        "nested": scene.store(ds, encode(ds)[:200] + b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" * 50_000),
        **{f"no {keyword}": scene.store(one) for keyword, one in bare.items()},
    }
    assert 0 not in statuses.values(), statuses
    with RawPeer(scene.node.port) as stranger:
        stranger.request([(DX, [EXPLICIT])], calling="STRANGER")
    with RawPeer(scene.node.port) as stranger:
        stranger.request([(DX, [EXPLICIT])], calling="ARCHIVE", called="ANOTHER")
    with RawPeer(scene.node.port).associate([(DX, [EXPLICIT])], calling="ARCHIVE") as peer:
        peer.send_values((1, 0, word(9505).encode()))  # a data set without a command
        peer.wait_for_end()


def spoil(scene, small):
    """Send what is taken and then makes trouble: conflicts, what cannot be decoded, what cannot be read."""
    ds = make_canary(small)
    assert scene.store(ds) == 0
    other = make_canary(small, SOPInstanceUID=ds.SOPInstanceUID)
    assert scene.store(other) == 0  # of another study: set aside
    assert scene.store(make_canary(small, StudyInstanceUID=ds.StudyInstanceUID, PatientID=word(9600))) == 0
    assert scene.store(make_canary(build_sr())) == 0
    broken = encapsulated(make_canary(small), JPEG2000Lossless, word(9601).encode() * 20)
    assert scene.store(broken, syntax=JPEG2000Lossless) == 0
    short = make_canary(small)
    short.PixelData = short.PixelData[:100]
    assert scene.store(short) == 0
    hostile = make_canary(small)
    assert scene.store(hostile, write(hostile, HOSTILE.items())) == 0
    scene.last_study = hostile.StudyInstanceUID
    own = {"Manufacturer": MANUFACTURER, "ManufacturerModelName": MANUFACTURER_MODEL_NAME}
    returned = make_canary(build_sc(), **own)
    assert scene.store(returned) == 0
    scene.returned = scene.node.settings.node.spool_dir / returned.StudyInstanceUID
    assert leaks(files_below(scene.returned))
    scene.wait_until(
        "the hostile study is answered", lambda one: one.study_instance_uid == scene.last_study and one.findings
    )


def guard(scene, small):
    """Knock at a port that speaks TLS and nothing else: in plain, with a strange certificate, and in order."""
    folder, port = scene.folder / "guarded", find_free_port()
    folder.mkdir()
    (folder / "node.toml").write_text(
        f'[node]\nae_title = "FRACTUREAI"\nport = {port}\ndata_dir = "{folder / "var"}"\n'
        f'[[senders]]\nae_title = "ARCHIVE"\n[tls]\n{scene.certificates.node_files}\n'
        f'[[destinations]]\nname = "kind"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {scene.kind.port}\n'
        "[receive]\nprocesses = 1\nminimum_free_mb = 1\n"
    )
    command = [sys.executable, "-m", "dicom_node", "receiver", "--verbose", "--config", str(folder / "node.toml")]
    with (folder / "log").open("wb") as log:
        receiver = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **scene.environment})
    try:
        wait_for("it receives", lambda: b"receiving as" in (folder / "log").read_bytes(), within_s=120)
        with RawPeer(port) as plain:
            plain.socket.sendall(word(9330).encode() * 50)
            plain.wait_for_end()
        with suppress(OSError), RawPeer(port) as stranger:  # with TLS 1.3 it is told when it first reads
            secure(stranger, scene.certificates.client_context(scene.certificates.strange))
            assert stranger.request() == (0, b"")
        ds = make_canary(small)
        for content in (encode(ds), word(9331).encode() * 50):
            with RawPeer(port, timeout_s=60) as peer:
                secure(peer, scene.certificates.client_context(scene.certificates.trusted))
                peer.associate([(DX, [EXPLICIT])], calling="ARCHIVE")
                response = peer.store(content, sop_instance=ds.SOPInstanceUID)
                assert (status_of(response) == 0) == (content == encode(ds))
            scene.answers[f"C-STORE-RSP {len(scene.answers)}"] = b"\0".join(response.values())
    finally:
        receiver.terminate()
        assert receiver.wait(60) == 0


def secure(peer, context):
    peer.socket = context.wrap_socket(peer.socket, server_hostname="127.0.0.1")
