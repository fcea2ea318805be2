"""What the OpenAPI description promises is what is answered, to whatever a program may send (schemathesis)."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
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
EXAMPLES = 20
NOBODY = "nobody"
REFUSED = {"/studies": {422}, "/predict": {400, 413, 415, 422}}
"""What may be said of values and forms, to whoever may ask."""


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    bundles = build_tiny_bundles(tmp_path_factory.mktemp("bundles"))
    with Web(build_settings(tmp_path_factory.mktemp("node"), bundles=bundles)) as web:
        roles = (Role.VIEWER, Role.RADIOLOGIST)
        web.programs = {NOBODY: {}} | {role: {"Authorization": f"Bearer {web.token(role)}"} for role in roles}
        # Who asks is what the tests are about: without this, tokens would be made up and taken away.
        for operations in web.app.openapi()["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
        web.description = schemathesis.openapi.from_asgi("/openapi.json", web.app)
        yield web


def ask(web, method, path, mode, program):
    """Ask for what the description allows, or for what it does not; return the status codes, each of which it knows."""
    operation = web.description[path][method]
    answered = []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(data=st.data())
    def answer(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        answered.append(case.call_and_validate(headers=web.programs[program], checks=CHECKS).status_code)

    answer()
    return set(answered)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_everybody_may_ask_how_the_node_is(web, path):
    assert ask(web, "GET", path, GenerationMode.POSITIVE, NOBODY) <= {200, 503}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "otherwise"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/studies"), ("POST", "/predict")])
class TestWhatProgramsAsk:
    def test_without_a_token_that_is_known_nothing_is_looked_at(self, web, method, path, mode):
        assert ask(web, method, path, mode, NOBODY) == {401}

    def test_a_viewer_s_token_gives_what_a_viewer_may_see(self, web, method, path, mode):
        allowed = {"/studies": {200, *REFUSED[path]}, "/predict": {403}}
        assert ask(web, method, path, mode, Role.VIEWER) <= allowed[path]

    def test_a_radiologist_s_token_is_answered_and_what_is_wrong_is_refused(self, web, method, path, mode):
        answered = ask(web, method, path, mode, Role.RADIOLOGIST)
        assert answered <= {200, *REFUSED[path]}
        if mode is GenerationMode.NEGATIVE:
            assert answered & REFUSED[path]
