"""A link passes bytes on, until it is told otherwise."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.faults.proxy import LOOPBACK, Link, Links

ANSWER = b"0123456789"


def _serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        try:
            while connection.recv(1):
                connection.sendall(ANSWER)
        except OSError:
            return


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to a server that answers each byte with ten."""
    with socket.create_server((LOOPBACK, 0)) as server, Links() as links:
        thread = threading.Thread(target=_serve, args=(server,))
        thread.start()
        yield links.to(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def connect(link: Link) -> socket.socket:
    return socket.create_connection((LOOPBACK, link.port), timeout=5)


def ask(connection: socket.socket) -> bytes:
    """Ask once; returns the answer, or what came of it before the connection broke."""
    answer = b""
    try:
        connection.sendall(b"?")
        while len(answer) < len(ANSWER) and (data := connection.recv(100)):
            answer += data
    except ConnectionError:
        pass
    return answer


def ask_anew(link: Link) -> bytes:
    """Ask once over a connection of its own."""
    try:
        with closing(connect(link)) as connection:
            return ask(connection)
    except ConnectionError:
        return b""


def test_a_link_passes_bytes_on(link: Link) -> None:
    with closing(connect(link)) as connection:
        assert ask(connection) == ask(connection) == ANSWER


def test_a_cut_resets_what_is_connected_and_lets_new_ones_pass(link: Link) -> None:
    with closing(connect(link)) as old:
        assert ask(old) == ANSWER
        link.cut()
        assert ask(old) == b""
    assert ask_anew(link) == ANSWER


def test_a_refusing_link_resets_new_connections_until_it_is_restored(link: Link) -> None:
    link.refuse()
    assert ask_anew(link) == b""
    link.restore()
    assert ask_anew(link) == ANSWER


def test_a_slow_link_holds_the_answer_back(link: Link) -> None:
    link.delay(0.1)
    with closing(connect(link)) as connection:
        began = time.monotonic()
        assert ask(connection) == ANSWER
        assert time.monotonic() - began >= 0.2


def test_a_link_that_cuts_after_some_bytes_breaks_within_the_answer(link: Link) -> None:
    with closing(connect(link)) as connection:
        assert ask(connection) == ANSWER
        link.cut_after(14)
        assert ask(connection) == ANSWER
        assert len(ask(connection)) < len(ANSWER)


def test_a_link_to_nothing_resets() -> None:
    with Links() as links:
        with socket.create_server((LOOPBACK, 0)) as server:
            port = server.getsockname()[1]
        assert ask_anew(links.to(port)) == b""
