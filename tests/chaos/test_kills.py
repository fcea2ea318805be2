"""Exactly once: killed at every transition and at random moments, the node loses nothing and doubles nothing.

A study is sent for every point of `crash_points`, the process that comes to the point dies of SIGKILL, and so does the
whole node where that was the worker. In the end a real Orthanc holds one result set for each revision of each study.
"""

import importlib.util
import os
import random
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from chaos_bench import Bench, say
from crash_points import LOSING, POINTS, RECEIVING, SECOND, SHORT
from running import wait_for

from dicom_node.settings import AnalysisSettings

pytestmark = [pytest.mark.orthanc, pytest.mark.fault(57)]

KILLING = Path(__file__).resolve().parents[1] / "killing"
FEW = 3
KILLS = int(os.environ.get("CHAOS_KILLS", FEW))
"""Random kills: few in the tests, 200 by `make chaos`."""
NAMES = SHORT if KILLS == FEW else tuple(POINTS)
STUDIES_PER_KILL = 5
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@contextmanager
def running_bench(folder, **options):
    bench = Bench(folder, **options)
    bench.start()
    try:
        yield bench
    finally:
        bench.stop()


# At every transition


class Killed:
    """A node that has been killed once at every point, each time with a study of its own on its way."""

    def __init__(self, bench, folder):
        self.bench, self._folder = bench, folder
        self.studies = {}
        """The study that was on its way, by the name of the point; None where the point was never reached."""
        for name in NAMES:
            self.studies[name] = self._kill_at(name)
            # One death is an accident. A study that takes the worker down again and again would be made without its
            # images, and that is right.
            bench.wait_until_done()

    def _kill_at(self, name):
        first = SECOND.get(name, name)
        self._arm(first)
        study = self.bench.send_study(2)
        if not self._has_fired():
            return None
        if first in RECEIVING:
            return study
        # The supervisor would start the worker again too, but ever more slowly.
        self.bench.node.kill()
        if name != first:
            if name in LOSING:
                self.bench.lose(study)
            self._arm(name)
            self.bench.node.start()
            if not self._has_fired():
                return None
            self.bench.node.kill()
        self.bench.node.start()
        return study

    def _arm(self, name):
        (self._folder / "fired").unlink(missing_ok=True)
        (self._folder / "new").write_text(POINTS[name])
        (self._folder / "new").rename(self._folder / "armed")

    def _has_fired(self):
        try:
            wait_for("a process came to the point", (self._folder / "fired").exists, within_s=90)
        except pytest.fail.Exception:
            (self._folder / "armed").unlink(missing_ok=True)
            return False
        return True


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killing")
    (folder / "points").write_text("\n".join(POINTS.values()))
    environment = {"PYTHONPATH": str(KILLING), "KILLING": str(folder)}
    with running_bench(tmp_path_factory.mktemp("points"), environment=environment) as bench:
        killed = Killed(bench, folder)
        yield killed


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_this_moment_it_gives_each_study_one_result_set(killed, name):
    """A node killed at any transition and started again has analysed what it acknowledged, each revision once."""
    study = killed.studies[name]
    assert study is not None, "no process came to this point"
    assert killed.bench.sent[study].acknowledged == killed.bench.sent[study].attempted
    assert killed.bench.check(study) >= 1
    wait_for("the archive vouches for every result", lambda: killed.bench.is_committed(study), within_s=30)


def test_after_all_these_deaths_every_file_has_its_row(killed):
    """No file without a row, no row without a file, nothing half done, after a death at every transition."""
    killed.bench.check_files()


def test_the_bench_would_notice_a_lost_and_a_doubled_result(killed):
    """The count fails where the archive holds one report too few or one too many: it can fail."""
    study = killed.studies["a row is committed"]
    reports = [ds for ds in killed.bench.archive.instances_of(study) if ds.Modality == "DOC"]
    taken = killed.bench.take_from_archive(reports[0].SOPInstanceUID)
    with pytest.raises(AssertionError):
        killed.bench.check(study)
    killed.bench.give_to_archive(taken)
    assert killed.bench.check(study) >= 1
    reports[0].SOPInstanceUID += ".1"
    reports[0].file_meta.MediaStorageSOPInstanceUID = reports[0].SOPInstanceUID
    killed.bench.give_to_archive(reports[0])
    with pytest.raises(AssertionError):
        killed.bench.check(study)
    killed.bench.take_from_archive(reports[0].SOPInstanceUID)


def test_killed_at_random_moments_under_load_it_loses_nothing_and_doubles_nothing(tmp_path):
    """At random moments receiver, worker or all of it die under load; the archive ends up with each result set once."""
    chance = random.Random(SEED)  # noqa: S311  # chance that can be had again, not a secret
    deaths = {}
    # In a long run chance may hit one study more often than it may crash its worker by default. That makes it "not
    # analysed", and rightly; but who is to count results must not meet it. Elsewhere the limit is the default.
    limit = None if AnalysisSettings().crashes_per_study > KILLS else 20
    with running_bench(tmp_path, crashes_per_study=limit) as bench:
        with bench.load(3, seed=SEED) as permits:
            for number in range(KILLS):
                permits.release(STUDIES_PER_KILL)
                if chance.random() < 0.75:  # else whatever it does while it starts
                    bench.wait_for_worker(time.time())
                time.sleep(chance.uniform(0, 0.8))
                kind = bench.kill_something(chance)
                deaths[kind] = deaths.get(kind, 0) + 1
                say(f"kill {number + 1} of {KILLS}: {kind}; {len(bench.sent)} studies so far")
        said = bench.check_all()
    say(f"killed {sum(deaths.values())} times ({deaths}): {said}; nothing lost, nothing doubled, nothing left over")
    assert sum(deaths.values()) == KILLS
    assert len(bench.sent) >= KILLS


# The points themselves


def test_every_point_names_a_function_that_there_is():
    # Not by its name: Python may have started with another module of that name.
    spec = importlib.util.spec_from_file_location("killing", KILLING / "sitecustomize.py")
    killing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(killing)
    for point in POINTS.values():
        moment, module, place = killing.split(point)
        assert moment in {"before", "after", "soon after"}
        assert callable(killing.find(importlib.import_module(module), place)[2])
