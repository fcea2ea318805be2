"""Names of hosts, looked up within a time."""

import threading
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import ip_address

from pynetdicom.transport import AddressInformation

_lock = threading.Lock()
_under_way: dict[str, Future[str]] = {}


def look_up(host: str, within_s: float) -> str:
    """Return the IP address of a host, IPv4 where it has one.

    The system's resolver cannot be told to hurry, and waits for dead name servers as long as it likes. It is asked in a
    thread of its own, one for each name, which whoever asks meanwhile waits for, too.

    Raises
    ------
    TimeoutError
        No answer came in time.
    OSError
        There is no such name, or nobody who knows.
    """
    with suppress(ValueError):
        return str(ip_address(host))
    with _lock:
        answer = _under_way.get(host)
        if answer is None:
            answer = Future()
            threading.Thread(target=_ask, args=(host, answer), name=f"name {host}", daemon=True).start()
            _under_way[host] = answer
    return answer.result(within_s)


def _ask(host: str, answer: Future[str]) -> None:
    try:
        address = AddressInformation.from_addr_port(host, 0).address
    except Exception as error:  # noqa: BLE001  # raised where the answer is waited for
        answer.set_exception(error)
    else:
        answer.set_result(address)
    with _lock:
        _under_way.pop(host, None)
