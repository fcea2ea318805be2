"""Images that crash, hang or bloat whatever decodes them cost their own answer and nothing else."""

import os
import signal
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import caged_work
import psutil
import pytest
from analysing import ScriptedPipeline, stored, study_of
from builders import build_dx, phantom, write_part10
from hostile_pixels import build_bloating_rle, build_bomb, build_panicking_rle, build_slow_jpeg_ls
from running import wait_for

from dicom_node.analyse.analysis import LEFT_ALONE, analyse_study
from dicom_node.analyse.cage import Cage
from dicom_node.analyse.decoder import Decoder
from dicom_node.analyse.patience import Patience
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.selection import select_radiographs
from dicom_node.errors import CageError, StudyError, UndecodableImageError
from dicom_node.settings import AnalysisSettings
from inference.types import Decision

PATIENT_S = 120
"""For what is not about time: enough for a machine that is busy with other things."""


@pytest.fixture(autouse=True)
def work_can_be_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(caged_work.__file__).parent))


@pytest.fixture
def cage():
    with closing(Cage("the child", caged_work.prepare, limit_s=PATIENT_S, memory_mb=500)) as cage:
        cage.wait_until_ready()
        yield cage


@pytest.fixture(scope="module")
def decoder():
    with closing(Decoder(AnalysisSettings(decode_limit_s=PATIENT_S, decode_memory_mb=400))) as decoder:
        decoder.wait_until_ready()
        yield decoder


@pytest.fixture
def hasty():
    """Return a decoder that gives up after half a second."""
    with closing(Decoder(AnalysisSettings(decode_limit_s=0.5))) as decoder:
        decoder.wait_until_ready()
        yield decoder


@pytest.fixture
def sound(tmp_path):
    return write_part10(build_dx(phantom(96, 64)), tmp_path / "sound.dcm")


@pytest.fixture
def pipe(tmp_path):
    """Return a file that never ends, nor begins."""
    path = tmp_path / "pipe.dcm"
    os.mkfifo(path)
    return path


def write_into(pipe):
    """Return the other end of a pipe as soon as somebody reads from it."""

    def connect():
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)

    return wait_for("somebody reads", connect, within_s=PATIENT_S, poll_s=0.01)


def grown_mb(before):
    return (psutil.Process().memory_info().rss - before) / 1e6


def test_a_radiograph_comes_out_of_the_cage_as_it_went_in(decoder, sound):
    here, there = load_radiograph(sound), decoder(sound)
    assert (there.pixels == here.pixels).all()
    assert (there.spacing_mm, there.pixel_aspect) == (here.spacing_mm, here.pixel_aspect)
    with pytest.raises(UndecodableImageError, match="FileNotFoundError"):
        decoder(sound.with_name("missing.dcm"))


@pytest.mark.fault(38, 48)
def test_a_small_file_of_a_huge_image_takes_no_memory(decoder, tmp_path):
    """65,535 x 65,535 pixels in 1.5 KB are refused by their header, before anything is allocated for them."""
    path = write_part10(build_bomb(), tmp_path / "bomb.dcm")
    before = psutil.Process().memory_info().rss
    child = psutil.Process(decoder.pid)
    before_there = child.memory_info().rss
    with pytest.raises(UndecodableImageError, match="million pixels"):
        decoder(path)
    assert grown_mb(before) < 30
    assert (child.memory_info().rss - before_there) / 1e6 < 30


@pytest.mark.fault(38)
def test_without_the_check_of_sizes_the_cage_still_holds_a_bomb(cage, tmp_path):
    """What pydicom alone would allocate for 65,535 x 65,535 pixels meets the limit of the child's memory."""
    path = write_part10(build_bomb(), tmp_path / "bomb.dcm")
    with pytest.raises(StudyError, match="needed more than 500 MB of memory"):
        cage.call(caged_work.decode_whatever_it_is, path)


@pytest.mark.fault(38)
def test_an_image_of_sound_size_that_needs_too_much_memory_is_given_up(decoder, sound, tmp_path):
    """1 MB that decoding would make 600 MB is given up at the limit; this process does not grow, the child goes."""
    path = write_part10(build_bloating_rle(), tmp_path / "image.dcm")
    assert path.stat().st_size < 1_100_000
    before, child = psutil.Process().memory_info().rss, decoder.pid
    with pytest.raises(CageError, match="the decoder needed more than 400 MB of memory"):
        decoder(path)
    assert grown_mb(before) < 30
    assert decoder(sound).rows == 96
    assert decoder.pid != child


@pytest.mark.fault(38)
def test_an_image_pays_for_no_memory_that_others_have_left_behind(cage):
    """A child whose memory earlier images have used up is replaced, and the image that met its end is tried again."""
    child = cage.pid
    assert cage.call(caged_work.need, 300) == child
    cage.call(caged_work.hoard, 300)
    assert Patience(AnalysisSettings()).insist(lambda: cage.call(caged_work.need, 300)) != child
    cage.call(caged_work.hoard, 300)
    with pytest.raises(CageError, match="needed more than 500 MB"):  # the control: one try alone
        Patience(AnalysisSettings(tries_per_image=1)).insist(lambda: cage.call(caged_work.need, 300))


@pytest.mark.fault(38)
def test_without_a_limit_the_same_image_bloats_its_process(tmp_path):
    """The negative control: what decodes this image without a limit grows by more than 500 MB."""
    path = write_part10(build_bloating_rle(), tmp_path / "image.dcm")
    with closing(Cage("the child", caged_work.prepare, limit_s=PATIENT_S)) as unlimited:
        assert unlimited.call(caged_work.measure_growth_mb, path) > 500


@pytest.mark.fault(39)
def test_a_codestream_that_panics_its_decoder_is_not_analysed_and_the_rest_of_its_study_is(decoder, tmp_path):
    """A decoder that panics costs one image a "not analysed" with that reason; the others are analysed as usual."""
    study = study_of(*(stored(ds, tmp_path) for ds in (build_panicking_rle(), build_dx(phantom(50, 40)))))
    broken, sound = analyse_study(study, select_radiographs(study), ScriptedPipeline(), decode=decoder).images
    assert broken.shown is None
    assert broken.analysis.decision is Decision.NOT_ANALYSED
    assert broken.analysis.reason == "The image could not be decoded: the decoder failed (PanicException)."
    assert sound.analysis.decision is Decision.NO_FRACTURE


@pytest.mark.fault(39)
def test_without_a_cage_the_same_codestream_passes_every_net(tmp_path):
    """The negative control: the panic is no Exception, and goes through whatever catches one, up to the process."""
    path = write_part10(build_panicking_rle(), tmp_path / "image.dcm")
    with pytest.raises(BaseException, match="index out of bounds") as raised:
        load_radiograph(path)
    assert not isinstance(raised.value, Exception)


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGSEGV, r"crashed \(SIGSEGV\)"), (signal.SIGKILL, r"was killed.*out of memory")]
)
def test_a_decoder_that_dies_over_an_image_is_replaced(decoder, pipe, sound, number, said):
    """A decoder that crashes, or is killed where memory runs out, costs one image its answer, not the process."""
    child = decoder.pid
    killed = []

    def kill():
        killed.append(write_into(pipe))
        os.kill(child, number)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CageError, match=said):
        decoder(pipe)
    killer.join()
    os.close(killed[0])
    assert decoder(sound).rows == 96
    assert decoder.pid != child


@pytest.mark.fault(39)
def test_a_decoder_that_dies_while_it_has_nothing_to_do_costs_no_image(decoder, sound):
    """A decoder that is lost between two images is replaced without a word in any answer."""
    os.kill(decoder.pid, signal.SIGKILL)
    # A process is over when the last of its threads is; until then it cannot be waited for.
    over = os.WEXITED | os.WNOWAIT | os.WNOHANG
    wait_for("it is gone", lambda: os.waitid(os.P_PID, decoder.pid, over) is not None, within_s=PATIENT_S)
    assert decoder(sound).rows == 96


@pytest.mark.fault(39)
def test_a_decoder_that_hangs_is_stopped_at_its_limit(hasty, pipe):
    """An image over which the decoder hangs is given up after `decode_limit_s`, and the decoder is gone."""
    child, before = psutil.Process(hasty.pid), time.monotonic()
    with pytest.raises(CageError, match=r"the decoder took longer than 0\.5 s"):
        hasty(pipe)
    assert time.monotonic() - before < PATIENT_S
    assert not child.is_running()


@pytest.mark.fault(39)
def test_without_a_cage_the_same_file_is_waited_for(pipe):
    """The negative control: a decoder in this process is still at it after twice the limit, and cannot be stopped."""

    def decode():
        with suppress(UndecodableImageError):
            load_radiograph(pipe)

    thread = threading.Thread(target=decode)
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    os.close(write_into(pipe))
    thread.join()


@pytest.mark.fault(38, 39)
def test_a_study_of_images_that_keep_the_decoder_busy_is_left_alone_after_a_few(hasty, tmp_path):
    """42 bytes of JPEG-LS that take seconds are tried as often as configured, then the rest of the study is left."""
    study = study_of(*(stored(build_slow_jpeg_ls(), tmp_path) for _ in range(3)))
    settings = AnalysisSettings(tries_per_image=2, crashes_per_study=3)
    analysis = analyse_study(study, select_radiographs(study), ScriptedPipeline(), decode=hasty, settings=settings)
    said = [image.analysis.reason for image in analysis.images]
    assert said == ["The image could not be decoded: the decoder took longer than 0.5 s."] * 2 + [LEFT_ALONE]
    assert {image.analysis.decision for image in analysis.images} == {Decision.NOT_ANALYSED}


def test_what_a_child_sends_cannot_make_its_parent_run_anything(cage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CageError, match="answered with what is no answer"):
        cage.call(caged_work.answer_with_code)
    assert not (tmp_path / "hacked").exists()


def test_what_nobody_foresaw_is_said_and_logged_without_its_text(cage, caplog):
    with pytest.raises(StudyError, match=r"the child failed \(ZeroDivisionError\)"):
        cage.call(caged_work.fail)
    assert "in fail" in caplog.text
    assert caged_work.QUOTED not in caplog.text


@pytest.mark.fault(39)
@pytest.mark.parametrize(("number", "named"), [(signal.SIGABRT, "SIGABRT"), (40, "signal 40")])
def test_a_child_may_die_of_any_signal(cage, number, named):
    """Of whatever signal a decoder dies, also one without a name, it is said and the decoder is replaced."""
    with pytest.raises(CageError, match=f"the child crashed \\({named}\\)"):
        cage.call(caged_work.die, number)
    assert cage.call(caged_work.find_pid) == cage.pid


def test_a_child_that_cannot_be_prepared_is_no_fault_of_an_image():
    with closing(Cage("the child", caged_work.fail_to_prepare, limit_s=PATIENT_S)) as cage:
        with pytest.raises(StudyError):
            cage.wait_until_ready()
        with pytest.raises(ChildProcessError, match="cannot be prepared"):
            cage.call(caged_work.find_pid)


def test_a_child_ends_with_its_cage(cage):
    child = psutil.Process(cage.call(caged_work.find_pid))
    cage.close()
    assert not child.is_running()
    assert cage.pid is None
