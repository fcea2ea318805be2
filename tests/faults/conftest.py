from archive_bench import site
from delivery_bench import archive, bench
from receiver_fixtures import build_settings, receiver, start, stock, store

__all__ = ["archive", "bench", "build_settings", "receiver", "site", "start", "stock", "store"]
