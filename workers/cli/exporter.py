"""`auxip exporter`: metrics for Prometheus."""

import signal
import threading

import click


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="to listen on; 0.0.0.0 in a container")
@click.option("--port", type=click.IntRange(0, 65_535), default=9808, show_default=True, help="0 is any that is free")
def exporter(address: str, port: int) -> None:
    """Serve metrics of queues, runs and items at /metrics, until SIGTERM. One is enough for a deployment."""
    from prometheus_client import CollectorRegistry, start_http_server

    from shared.settings import load_settings
    from workers.telemetry.exporter import LedgerCollector

    registry = CollectorRegistry()
    registry.register(LedgerCollector(load_settings()))
    server, thread = start_http_server(port, address, registry)
    click.echo(f"metrics at http://{address}:{server.server_port}/metrics")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.shutdown()
    thread.join()
