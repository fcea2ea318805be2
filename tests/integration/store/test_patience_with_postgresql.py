"""A PostgreSQL server that is gone without a word is given up in time."""

import pytest
from archive_bench import silent_listener
from postgresql import running_postgresql
from sqlalchemy.exc import OperationalError

from dicom_node.store.schema import create_engine


def ask_for_parameters(url):
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.connection.dbapi_connection.info.get_parameters()
    finally:
        engine.dispose()


def test_connections_have_time_outs_and_those_of_the_url_come_first():
    with running_postgresql() as url:
        usual, told = ask_for_parameters(url), ask_for_parameters(f"{url}&keepalives_idle=7&connect_timeout=3")
    assert (usual["connect_timeout"], usual["keepalives_idle"], usual["tcp_user_timeout"]) == ("10", "30", "60000")
    assert (told["connect_timeout"], told["keepalives_idle"], told["tcp_user_timeout"]) == ("3", "7", "60000")


def test_a_server_that_takes_a_connection_and_says_nothing_is_given_up():
    with silent_listener() as port, pytest.raises(OperationalError, match="timeout"):
        ask_for_parameters(f"postgresql+psycopg://node@127.0.0.1:{port}/node?connect_timeout=2")
