"""Load: sixteen associations at once, a slow archive and a dead one beside one that is well; then the dead one returns.

Real processes and sockets; the models are the tiny ones of `inference.testing`, because what is asked is whether the
node keeps its promises, not how fast the models are.
"""

import os
from contextlib import ExitStack, closing, contextmanager

import pytest
from archive_bench import silent_listener
from chaos_bench import say
from load_bench import CountingArchive, Senders, Watch, count, percentile
from running import Node, wait_for

from dicom_node.store import RevisionState
from inference.testing import build_tiny_bundles

FEW = 32
STUDIES = int(os.environ.get("LOAD_STUDIES", FEW))
"""Studies that are sent: few in the tests, 2,000 by `make load`."""
ASSOCIATIONS = 16
SLOW_S = 0.25
"""What the slow archive takes over each object."""
QUIET_S = 0.5
MEMORY_MB, THREADS = 20, 4
"""What a process may use more in the last quarter than in the second: more would be a leak, less an allocator."""
RETURN_S = 60 + STUDIES
"""How long the slow archive may lag behind, and the one that was dead may need to get all that waits."""

pytestmark = pytest.mark.fault(62)


@contextmanager
def running_node(folder, archive, **others):
    """Run a node that delivers to `archive` and to others, by name and port."""
    bundles = build_tiny_bundles(folder / "bundles", region="LEG")
    destinations = [
        f'[[destinations]]\nname = "{name}"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'
        "connection_timeout_s = 5\nresponse_timeout_s = 15\nretry_first_s = 5\nretry_longest_s = 20"
        for name, port in others.items()
    ]
    # The first line still belongs to [receive]: an association may wait long for a report.
    more = ["network_timeout_s = 600", f'[models]\nbundles = "{bundles}"', *destinations]
    node = Node(folder / "node", {"healthy": archive.port}, quiet_s=QUIET_S, more="\n\n".join(more)).start()
    try:
        wait_for("the worker sweeps", node.settings.node.heartbeat.exists, within_s=120)
        yield node
    finally:
        node.stop()


@pytest.fixture
def start_archive():
    """Start archives that stop with the test."""
    with ExitStack() as stack:

        def start(**options):
            archive = CountingArchive(**options)
            stack.callback(archive.stop)
            return archive

        yield start


def send(node, archive, studies):
    """Send studies over all associations at once; return what was acknowledged, and how long the archive waited."""
    senders = Senders(node.port, archive, associations=ASSOCIATIONS)
    seconds = senders.send(studies)
    waited = [one - QUIET_S for one in senders.latencies_s]
    median, p95 = percentile(waited, 0.5), percentile(waited, 0.95)
    say(
        f"  {studies} studies over {ASSOCIATIONS} associations in {seconds:.0f} s; from last image to report, without"
        f" the quiet period: median {median:.2f} s, 95 % within {p95:.2f} s"
    )
    return senders.acknowledged, median, p95


def test_under_load_nothing_is_lost_or_doubled_and_the_healthy_archive_waits_for_no_other(tmp_path, start_archive):
    """Sixteen associations at once, a slow and a dead archive: nothing lost or doubled, nothing grows, nobody waits.

    The control is the run before it, with the healthy archive alone. Had the destinations places in common, each report
    would wait for a time-out of the dead one.
    """
    alone = start_archive()
    say("the healthy archive alone:")
    with running_node(tmp_path / "alone", alone) as node:
        _, median_alone, p95_alone = send(node, alone, max(STUDIES // 8, ASSOCIATIONS))
    archives = {"healthy": start_archive(), "slow": start_archive(delay_s=SLOW_S)}
    with ExitStack() as death:
        dead = death.enter_context(silent_listener())
        with running_node(tmp_path / "beside", archives["healthy"], slow=archives["slow"].port, dead=dead) as node:
            # What is loaded and kept at first use is no leak: it is there before anything is measured.
            first, _, _ = send(node, archives["healthy"], ASSOCIATIONS)
            say("beside a slow one and a dead one:")
            with (watch := Watch(node.process.pid)).watching():
                acknowledged, median, p95 = send(node, archives["healthy"], STUDIES)
            acknowledged |= first
            waiting = count(archives["slow"], acknowledged).lost
            say(f"  the slow one lacks {waiting} result sets, the dead one all; now the dead one comes back")
            death.close()
            archives["dead, then back"] = start_archive(port=dead)
            for name, archive in archives.items():
                has_all = lambda archive=archive: len(archive.reports) == len(acknowledged)  # noqa: E731  # said in one line
                wait_for(f"{name}: every report is there", has_all, within_s=RETURN_S, poll_s=1)
            wait_for("every study is done", lambda: is_all_done(node, len(acknowledged)), within_s=120, poll_s=5)
    counts = {name: count(archive, acknowledged) for name, archive in archives.items()}
    say(f"  {len(acknowledged)} studies, {sum(map(len, acknowledged.values()))} images acknowledged")
    for name, found in counts.items():
        say(
            f"  {name}: {found.complete} result sets, {found.lost} lost, {found.doubled} objects doubled, {found.again}"
            " sent again"
        )
    grown = watch.growth()
    for one in grown:
        say(f"  {one}")
    assert len(acknowledged) == ASSOCIATIONS + STUDIES
    assert all((found.complete, found.lost, found.doubled) == (len(acknowledged), 0, 0) for found in counts.values())
    assert [str(one) for one in grown if one.memory_growth_mb > MEMORY_MB or one.thread_growth > THREADS] == []
    assert median <= 1.5 * median_alone + 0.5
    assert p95 <= 1.5 * p95_alone + 1


def is_all_done(node, studies):
    """Tell whether every revision is delivered to every archive."""
    with closing(node.store()) as store:
        revisions = store.status(2 * studies)
    return [one.state for one in revisions] == [RevisionState.DONE] * studies
