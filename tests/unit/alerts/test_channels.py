import contextlib
import socket
import ssl
import threading
import time
from contextlib import closing

import pytest
from alert_servers import MailServer, WebhookServer
from certificates import Authority

from dicom_node.alerts.channels import Mail, Webhook, build_channels
from dicom_node.alerts.message import Event, Message, News
from dicom_node.errors import AlertError
from dicom_node.settings import AlertSettings

NEWS = News(
    event=Event.RAISED, kind="disk", subject="", says="100 MB of the disk are free", remedy="make room", since=0.0
)
MESSAGE = Message(node="FRACTUREAI", at=60.0, news=(NEWS,))
ADDRESSES = {"mail_from": "node@hospital.example", "mail_to": ("pacs@hospital.example", "it@hospital.example")}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def context(authority):
    identity = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("open sesame\n")
    return str(path)


def webhook(server, *, scheme="http", **keys):
    return Webhook(AlertSettings(webhook_url=f"{scheme}://127.0.0.1:{server.port}/hook?room=1", **keys))


def mail(server, security="none", **keys):
    settings = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_security": security, **ADDRESSES, **keys}
    return Mail(AlertSettings(**settings))


def test_a_webhook_gets_json_that_programs_and_chats_can_read(secret):
    with closing(WebhookServer()) as server:
        webhook(server, webhook_token_file=secret).tell(MESSAGE)
    (post,) = server.posts
    assert (post["node"], post["at"]) == ("FRACTUREAI", "1970-01-01T00:01:00+00:00")
    assert "100 MB of the disk are free since 1970-01-01T00:00:00+00:00." in post["text"]
    (alert,) = post["alerts"]
    assert (alert["event"], alert["kind"], alert["remedy"]) == ("raised", "disk", "make room")
    assert server.headers[0]["Authorization"] == "Bearer open sesame"


def test_a_webhook_speaks_tls_with_whom_the_authority_vouches_for_and_nobody_else(context, authority):
    with closing(WebhookServer(context)) as server:
        webhook(server, scheme="https", ca=str(authority.certificate)).tell(MESSAGE)
        with pytest.raises(AlertError, match="no TLS"):
            webhook(server, scheme="https").tell(MESSAGE)
    assert len(server.posts) == 1


@pytest.mark.parametrize("status", [301, 404, 500])
def test_any_answer_but_success_is_none(status):
    with closing(WebhookServer()) as server:
        server.status = status
        with pytest.raises(AlertError, match=f"answers {status}"):
            webhook(server).tell(MESSAGE)


def test_a_webhook_that_is_silent_takes_its_time_and_no_more():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = AlertSettings(webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3)
        began = time.monotonic()
        with pytest.raises(AlertError, match="not answer in time"):
            Webhook(settings).tell(MESSAGE)
        assert time.monotonic() - began < 5


def test_a_mail_server_that_is_silent_is_said_to_be():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        keys = {"smtp_port": port, "smtp_security": "none", "mail_from": "a@h.example", "mail_to": ("b@h.example",)}
        with pytest.raises(AlertError, match="does not answer in time"):
            Mail(AlertSettings(smtp_host="127.0.0.1", timeout_s=0.3, **keys)).tell(MESSAGE)


class Talker:
    """A server that answers so many requests as it should, and then says a little more now and then, without end."""

    def __init__(self, said, *answers, context=None):
        self._said, self._answers, self._context = said, answers, context
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self):
        with self._listener, contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(10)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                for answer in self._answers:
                    connection.sendall(answer)
                    connection.recv(65536)
                while not self._over.wait(0.05):
                    connection.sendall(self._said)

    def close(self):
        self._over.set()
        self._thread.join()


def tell(channel):
    """Tell the channel something; return what it says of it, "told" where it took it, nothing where it waits on."""
    outcomes = []

    def tell_it():
        try:
            channel.tell(MESSAGE)
        except AlertError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("told")

    telling = threading.Thread(target=tell_it, daemon=True)
    telling.start()
    telling.join(15)
    return outcomes


@pytest.mark.parametrize("said", [b"HTTP/1.1 100 Continue\r\n\r\n", b"H"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_webhook_that_never_comes_to_its_answer_is_left(said, scheme, context, authority):
    over_tls = {"context": context} if scheme == "https" else {}
    with closing(Talker(said, b"", **over_tls)) as server:
        hook = webhook(server, scheme=scheme, ca=str(authority.certificate), timeout_s=0.1)
        (outcome,) = tell(hook)
    assert outcome.endswith("does not answer in time")


@pytest.mark.parametrize("answers", [(), (b"220 mail\r\n",), (b"220 mail\r\n", b"250 ok\r\n")])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_mail_server_that_never_comes_to_the_end_of_an_answer_is_left(answers, security, context, authority):
    over_tls = {"context": context} if security == "tls" else {}
    with closing(Talker(b"250-and\r\n", *answers, **over_tls)) as server:
        (outcome,) = tell(mail(server, security, ca=str(authority.certificate), timeout_s=0.1))
    assert outcome.endswith("does not answer in time")


def test_a_mail_says_what_is_wrong_and_what_to_do(context, authority, secret):
    with closing(MailServer(context, expects="open sesame")) as server:
        mail(server, "starttls", ca=str(authority.certificate), smtp_user="node", smtp_password_file=secret).tell(
            MESSAGE
        )
    (one,) = server.mails
    assert one["Subject"] == "FRACTUREAI: disk raised"
    assert one["To"] == "pacs@hospital.example, it@hospital.example"
    lines = one.get_content().splitlines()
    assert lines[0] == "RAISED: disk"
    assert lines[1].startswith("100 MB of the disk are free since 1970-01-01")
    assert lines[2] == "What to do: make room"
    assert server.commands.index("STARTTLS") < server.commands.index("AUTH")


def test_a_mail_server_may_speak_tls_from_the_first_byte(context, authority):
    with closing(MailServer(context, implicit=True)) as server:
        mail(server, "tls", ca=str(authority.certificate)).tell(MESSAGE)
    assert len(server.mails) == 1


def test_a_mail_server_without_starttls_gets_neither_password_nor_mail(secret):
    with closing(MailServer(expects="open sesame")) as server, pytest.raises(AlertError):
        mail(server, "starttls", smtp_user="node", smtp_password_file=secret).tell(MESSAGE)
    assert not {"AUTH", "DATA"} & set(server.commands)


def test_a_wrong_password_is_said_without_the_password(context, authority, secret):
    with closing(MailServer(context, expects="another")) as server, pytest.raises(AlertError) as caught:
        mail(server, "starttls", ca=str(authority.certificate), smtp_user="node", smtp_password_file=secret).check()
    assert "refuses the login" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_refused_address_is_a_failure():
    with closing(MailServer(refuses="it@hospital")) as server, pytest.raises(AlertError, match="1 of the addresses"):
        mail(server).tell(MESSAGE)


def test_only_what_is_configured_is_a_channel():
    assert build_channels(AlertSettings()) == ()
    both = AlertSettings(webhook_url="https://h.example", smtp_host="m.example", **ADDRESSES)
    assert [channel.name for channel in build_channels(both)] == ["webhook", "mail"]


def test_the_path_of_a_webhook_which_may_be_a_secret_is_not_said():
    assert Webhook(AlertSettings(webhook_url="https://h.example/T0P/SECRET")).where == "webhook at h.example"
