"""A link passes bytes on, until it is told otherwise."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.faults.proxy import LOOPBACK, Lie, Link, Links

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


@pytest.fixture
def web() -> Iterator[tuple[Link, list[str]]]:
    """A link to a web server, and the requests that this has had, with their bodies."""
    had: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            had.append(f"{self.path} {self.rfile.read(int(self.headers['content-length'])).decode()}")
            self.send_response(200)
            self.send_header("content-length", "4")
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server, Links() as links:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield links.to(server.server_port), had
        server.shutdown()


@pytest.mark.parametrize(("applied", "reaches_the_server"), [(False, []), (True, ["/a body"])])
def test_a_lying_link_answers_in_the_place_of_the_server(
    web: tuple[Link, list[str]], applied: bool, reaches_the_server: list[str]
) -> None:
    link, had = web
    link.lie(Lie("PUT /a", 500, b"no", applied))
    answer = httpx.put(f"http://{LOOPBACK}:{link.port}/a", content="body", trust_env=False)
    assert (answer.status_code, answer.content) == (500, b"no")
    assert had == reaches_the_server


def test_a_lying_link_passes_other_requests_on(web: tuple[Link, list[str]]) -> None:
    link, _ = web
    link.lie(Lie("PUT /a", 500))
    assert httpx.put(f"http://{LOOPBACK}:{link.port}/b", content="body", trust_env=False).content == b"true"


def test_a_link_that_is_restored_lies_no_more(web: tuple[Link, list[str]]) -> None:
    link, _ = web
    link.lie(Lie("PUT", 500))
    link.restore()
    assert httpx.put(f"http://{LOOPBACK}:{link.port}/a", content="body", trust_env=False).content == b"true"
