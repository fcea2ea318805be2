"""The service, the container and what stands beside it name what exists, and fit the program and each other.

No container engine runs here: what is checked is all that can be without one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from urllib.request import urlopen

import pytest
import typer.main
import yaml
from running import wait_for

from dicom_node.cli import app
from dicom_node.demo.archives import find_free_port, find_program
from dicom_node.processes import REFUSED_TO_START
from dicom_node.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[3]
UNIT = REPOSITORY / "config" / "systemd" / "dicom-node.service"
CONTAINER = REPOSITORY / "config" / "container"
INSTALLED = "/opt/dicom-node"
PROGRAM = f"{INSTALLED}/.venv/bin/dicom-node"
COMMANDS = typer.main.get_command(app).commands


class Unit(RawConfigParser):
    """A unit file; of a key that comes several times, the last value."""

    def __init__(self, path):
        super().__init__(strict=False, comment_prefixes=("#",), delimiters=("=",))
        self.optionxform = str
        self.read(path)


def instructions(name="Containerfile"):
    """Return the instructions of the Containerfile: their names and what stands behind them."""
    text = re.sub(r"\\\n\s*", "", (CONTAINER / name).read_text())
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def jsonc(path):
    return json.loads(re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE))


def check_command(words):
    """Check that these are words of the command line, with options that the command has."""
    command, *options = words
    assert command in COMMANDS
    known = {name for parameter in COMMANDS[command].params for name in parameter.opts}
    assert [word for word in options if word.startswith("-") and word not in known] == []


# As a service


def run_systemd_analyze(*arguments, **options):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, **options)


def installed_unit(folder, text):
    """Write the unit as it would be where the program is installed in the present environment."""
    program = folder / "dicom-node"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = folder / UNIT.name
    unit.write_text(text.replace(PROGRAM, str(program)))
    return unit


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    unit = installed_unit(tmp_path, UNIT.read_text())
    verified = run_systemd_analyze("verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_systemd_would_say_that_a_key_is_misspelt(tmp_path):
    """The check above is needed, and sees something."""
    unit = installed_unit(tmp_path, UNIT.read_text().replace("ProtectSystem", "ProtectsSystem"))
    assert "ProtectsSystem" in run_systemd_analyze("verify", "--man=no", str(unit)).stderr


def test_the_service_is_as_closed_as_it_can_be(tmp_path):
    """From 0 to 10; what is left is the network, and the right to a port below 1024."""
    unit = installed_unit(tmp_path, UNIT.read_text())
    said = run_systemd_analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))
    assert said.returncode == 0, said.stdout


def test_the_unit_starts_a_command_that_exists_and_knows_the_exit_code_of_a_refusal():
    service = Unit(UNIT)["Service"]
    program, *words = service["ExecStart"].split()
    assert program == PROGRAM
    check_command(words)
    assert int(service["RestartPreventExitStatus"]) == REFUSED_TO_START
    assert service["User"] != "root"
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_service_is_not_killed_while_it_stops_in_order():
    grace_s = load_settings(REPOSITORY / "config" / "node.toml").node.grace_s
    stopping = int(Unit(UNIT)["Service"]["TimeoutStopSec"]), int(compose()["node"]["stop_grace_period"].rstrip("s"))
    assert min(stopping) > grace_s + 10


# As a container


def compose():
    return yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]


def test_everything_that_is_copied_into_the_image_exists_and_is_not_ignored():
    sources = [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]
    sources = [source for source in sources if not source.startswith(("--from", "/"))]
    allowed = [
        line.removeprefix("!")
        for line in (REPOSITORY / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    assert sources == allowed
    assert [source for source in sources if not (REPOSITORY / source).exists()] == []


def test_what_is_copied_into_the_image_is_enough_for_the_program(tmp_path):
    """It answers from the copy alone, and finds the models in it."""
    for name in ("dicom_node", "inference", "models"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import dicom_node.worker, dicom_node.web.server; from inference.pipeline import Pipeline;"
        "from dicom_node.settings import ModelSettings; folder = ModelSettings().bundles;"
        "print(folder, len(Pipeline.load(folder).models), dicom_node.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    folder, models, file = said.stdout.split()
    assert Path(folder) == tmp_path / "models" / "bundles"
    assert int(models) >= 2
    assert file.startswith(str(tmp_path))


def test_the_image_runs_a_command_that_exists_as_nobody_special():
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == [PROGRAM]
    check_command(json.loads(found["CMD"]))
    names = [name for name, _ in instructions()]
    assert names.index("USER") > len(names) - 1 - names[::-1].index("RUN")
    assert int(found["USER"]) > 0
    assert f"--uid {found['USER']} " in "".join(rest for name, rest in instructions() if name == "RUN")
    assert "ADD" not in names


def test_every_image_that_is_built_on_names_its_version():
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"] + [compose()["orthanc"]["image"]]
    assert all(re.fullmatch(r"[a-z0-9./-]+:[0-9][a-z0-9.-]*", base) for base in bases), bases


def test_the_health_check_is_a_program_that_asks_the_web_process():
    (check,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    program, option, code = json.loads(check[check.index("CMD ") + 4 :])
    settings = load_settings(CONTAINER / "node.toml")
    assert program.startswith(INSTALLED)
    assert option == "-c"
    compile(code, "health check", "exec")
    assert f"127.0.0.1:{settings.web.port}/healthz" in code


def test_compose_mounts_what_exists_where_the_program_looks_for_it():
    services = compose()
    build = services["node"]["build"]
    assert (CONTAINER / build["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).is_file()
    mounts = {}
    for service in services.values():
        for mount in service["volumes"]:
            source, target, *_ = mount.split(":")
            assert not source.startswith(".") or (CONTAINER / source).is_file(), source
            mounts[target] = source
    words = json.loads(dict(instructions())["CMD"])
    assert mounts[words[words.index("--config") + 1]] == "./node.toml"
    assert mounts[str(load_settings(CONTAINER / "node.toml").node.data_dir)] == "node-data"
    assert services["node"]["read_only"] is True
    orthanc = jsonc(CONTAINER / "orthanc.json")
    assert mounts[orthanc["StorageDirectory"]] == "orthanc-data"
    assert [script for script in orthanc["LuaScripts"] if script not in mounts] == []


def test_node_and_orthanc_know_each_other_by_the_addresses_that_compose_gives_them():
    services, settings = compose(), load_settings(CONTAINER / "node.toml")
    addresses = {name: service["networks"]["dicom"]["ipv4_address"] for name, service in services.items()}
    orthanc = jsonc(CONTAINER / "orthanc.json")
    (archive,), (sender,) = settings.destinations, settings.senders
    assert (archive.host, archive.port, archive.ae_title) == (
        addresses["orthanc"],
        orthanc["DicomPort"],
        orthanc["DicomAet"],
    )
    assert sender.ae_title == orthanc["DicomAet"]
    assert list(map(str, sender.networks)) == [f"{addresses['orthanc']}/32"]
    node = settings.node
    assert orthanc["DicomModalities"]["fractureai"] == {
        "AET": node.ae_title,
        "Host": addresses["node"],
        "Port": node.port,
    }
    published = [port for service in services.values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in published)
    inside = {int(port.rpartition(":")[2]) for port in published}
    assert inside == {node.port, settings.web.port, orthanc["DicomPort"], orthanc["HttpPort"]}


@pytest.mark.orthanc
def test_orthanc_starts_with_the_configuration_of_the_container(tmp_path):
    """With ports and folders of its own, and the script of the repository."""
    configuration = jsonc(CONTAINER / "orthanc.json")
    http = find_free_port()
    configuration |= {
        "StorageDirectory": str(tmp_path),
        "IndexDirectory": str(tmp_path),
        "HttpPort": http,
        "DicomPort": find_free_port(),
        "LuaScripts": [str(REPOSITORY / "config" / "orthanc" / "forward.lua")],
        "RemoteAccessAllowed": False,
    }
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([find_program("Orthanc"), str(file)], stdout=log, stderr=log)
    try:
        wait_for("Orthanc answers", lambda: asks(http, "/system"), within_s=30)
        assert asks(http, "/modalities") == ["fractureai"]
    finally:
        process.terminate()
        process.wait(30)


def test_the_archive_beside_the_node_keeps_its_files_outside_the_nodes_data(monkeypatch):
    """Orthanc makes folders that anybody may enter; `doctor` would say so of the data of a node that never ran."""
    monkeypatch.chdir(REPOSITORY)
    data = load_settings(Path("config/node.toml")).node.data_dir.resolve()
    file = REPOSITORY / "config" / "orthanc" / "orthanc.json"
    for key in ("StorageDirectory", "IndexDirectory"):
        assert data not in (file.parent / jsonc(file)[key]).resolve().parents


def asks(port, path):
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def test_the_instructions_for_the_administrator_name_what_exists():
    text = (REPOSITORY / "config" / "README.md").read_text()
    assert set(re.findall(r"dicom-node ([a-z]+)(?: --|`)", text)) <= set(COMMANDS)
    for path in re.findall(r"`((?:systemd|container|orthanc)/[a-zA-Z./-]*|[A-Za-z.]+\.toml|Containerfile)`", text):
        assert any((folder / path).exists() for folder in (REPOSITORY / "config", CONTAINER)), path
    assert INSTALLED in text
