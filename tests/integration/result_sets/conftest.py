import pytest
from result_bench import Bench

from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    return Pipeline.load(build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG"), threads=1)


@pytest.fixture
def node(tmp_path, pipeline):
    bench = Bench(tmp_path, pipeline)
    yield bench
    bench.store.close()
