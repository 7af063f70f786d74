"""A proxy that speaks TLS in front of a server that does not, with a certificate of its own."""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path


class TlsProxy:
    """Passes on what comes by TLS, on a port of the loopback address.

    Attributes:
        port: where it listens.
        ca: file of the certificate that clients must trust.
    """

    def __init__(self, folder: Path, target: int) -> None:
        self.ca = folder / "ca.pem"
        key = folder / "key.pem"
        openssl = shutil.which("openssl")
        assert openssl, "these tests need openssl"
        options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        options += " -addext basicConstraints=critical,CA:FALSE"  # obstore takes no authority for a server
        argv = [openssl, *options.split(), "-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(argv, check=True, capture_output=True)  # noqa: S603 - the system's own program
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.ca, key)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
            self._tls.wrap_socket(client, server_side=True) as secured,
        ):
            back = threading.Thread(target=_pass_on, args=(server, secured), daemon=True)
            back.start()
            _pass_on(secured, server)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
