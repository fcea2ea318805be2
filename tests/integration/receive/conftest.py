from receiver_fixtures import build_settings, receiver, start, stock, store

__all__ = ["build_settings", "receiver", "start", "stock", "store"]
