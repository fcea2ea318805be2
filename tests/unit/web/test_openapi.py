"""What the OpenAPI description promises is what is answered, to whatever a program may send (schemathesis)."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from web_bench import Web, build_settings

from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
"""Not that every form with a file is answered: most bytes are no image. A node that is not ready answers 503."""


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    bundles = build_tiny_bundles(tmp_path_factory.mktemp("bundles"))
    with Web(build_settings(tmp_path_factory.mktemp("node"), bundles=bundles)) as web:
        web.program = {"Authorization": f"Bearer {web.token(Role.RADIOLOGIST)}"}
        yield web


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/studies"), ("POST", "/predict")]
)
def test_the_description_is_true(web, method, path):
    operation = schemathesis.openapi.from_asgi("/openapi.json", web.app)[path][method]

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(data=st.data())
    def ask(data):
        data.draw(operation.as_strategy()).call_and_validate(headers=web.program, checks=CHECKS)

    ask()
