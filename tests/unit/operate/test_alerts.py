import contextlib
import json
from contextlib import closing

import pytest
from alert_servers import MailServer, WebhookServer
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.operate.alerts import check_alerts
from dicom_node.settings import load_settings

NODE = """
[node]
ae_title = "FRACTUREAI"
data_dir = "{folder}/var"
[[senders]]
ae_title = "ORTHANC"
[[destinations]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = 4242
[alerts]
timeout_s = 1
{alerts}
"""


@pytest.fixture
def write(tmp_path):
    def write(alerts="free_mb = 0"):
        path = tmp_path / "node.toml"
        path.write_text(NODE.format(folder=tmp_path, alerts=alerts))
        return path

    return write


def run(*words):
    result = CliRunner().invoke(app, ["alerts", *map(str, words)])
    return result.exit_code, result.output


def mail_keys(port):
    lines = ['smtp_host = "127.0.0.1"', f"smtp_port = {port}", 'smtp_security = "none"', 'mail_from = "node@h.example"']
    return "\n".join([*lines, 'mail_to = ["pacs@h.example"]'])


def test_a_node_with_nothing_wrong_says_so(write, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "worker.alive").touch()
    assert run("--config", write()) == (0, "nothing is wrong\n")


@pytest.mark.parametrize("words", [("alerts",), ("alerts", "--json"), ("status",), ("status", "--state", "failed")])
def test_a_data_folder_that_no_node_has_run_on_is_said_to_be_one(write, tmp_path, words):
    # As one that is relative is, where the command was started somewhere else.
    config = write()
    config.write_text(config.read_text().replace(f"{tmp_path}/var", "var"))
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(app, [*words, "--config", str(config)])
    assert f"no worker has ever run on the data folder {tmp_path}/var" in result.stderr
    assert "nothing is wrong" not in result.output
    assert result.exit_code == (1 if "alerts" in words else 0)


def test_what_is_wrong_is_shown_with_who_was_told(write):
    config = write("free_mb = 1000000000")
    code, output = run("--config", config)
    assert code == 1
    assert "MB of the disk are free" in output
    assert "nobody is told: [alerts] names neither" in output
    code, output = run("--config", config, "--json")
    (one,) = json.loads(output)
    assert (code, one["kind"], one["told"]) == (1, "disk", [])


def test_a_test_goes_through_every_channel_of_the_configuration_before_or_after_the_word(write):
    with closing(WebhookServer()) as webhook, closing(MailServer()) as mail:
        config = write(f'webhook_url = "http://127.0.0.1:{webhook.port}"\n{mail_keys(mail.port)}')
        assert run("test", "--config", config)[0] == 0
        assert run("--config", config, "test")[0] == 0
    assert [post["alerts"][0]["event"] for post in webhook.posts] == ["test", "test"]
    assert [one["Subject"] for one in mail.mails] == ["FRACTUREAI: test test"] * 2


def test_a_test_that_fails_says_where(write):
    with closing(WebhookServer()) as webhook:
        webhook.status = 500
        code, output = run("test", "--config", write(f'webhook_url = "http://127.0.0.1:{webhook.port}"'))
        assert code == 1
        assert f"webhook at 127.0.0.1:{webhook.port} answers 500" in output


def test_a_test_of_nothing_is_no_success(write):
    code, output = run("test", "--config", write())
    assert code == 1
    assert "names neither a webhook nor a mail server" in output


def test_the_doctor_finds_a_server_that_is_not_there(write):
    with closing(WebhookServer()) as webhook:
        settings = load_settings(write(f'webhook_url = "http://127.0.0.1:{webhook.port}"'))
        assert [one.ok for one in check_alerts(settings)] == [True]
        assert webhook.posts == []
    assert [one.ok for one in check_alerts(settings)] == [False]


def test_for_the_doctor_nobody_to_tell_is_a_remark_and_no_fault(write):
    (finding,) = check_alerts(load_settings(write()))
    assert finding.ok
    assert "nobody is told" in finding.says
