"""SIGTERM in the middle of something."""

import pytest
from chaos_bench import Bench
from running import wait_for


@pytest.mark.orthanc
@pytest.mark.fault(65)
@pytest.mark.parametrize("moment", ["analysing", "delivering"])
def test_a_node_that_is_told_to_stop_while_it_works_exits_with_0_and_goes_on_at_the_next_start(tmp_path, moment):
    """SIGTERM while a study is analysed or delivered: exit code 0, and after the next start one result set."""
    bench = Bench(tmp_path)
    bench.start()
    try:
        study = bench.send_study(6)
        wait_for(moment, lambda: moment in bench.node.states(), within_s=120, poll_s=0.002)
        assert bench.node.stop() == 0
        assert "killed" not in bench.node.log
        bench.node.start()
        bench.wait_until_done()
        assert bench.check(study) == 1
        bench.check_files()
    finally:
        bench.stop()
