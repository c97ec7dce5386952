"""A connection through which nothing comes any more. The client was connected when the session of tests began."""

from __future__ import annotations

from .conftest import BlackHoled


def test_the_client_notices_after_half_a_minute(black_holed: BlackHoled) -> None:
    """Invariant 12: a ping every 20 to 30 seconds, and 10 seconds for its answer."""
    began = black_holed.began
    timeout = black_holed.client.wait("KeepAliveTimeout", timeout=60)
    assert timeout["ErrorCount"] == 1
    assert 9 < timeout["at"] - began < 41
    assert black_holed.client.names == ["started", "Connected", "KeepAliveTimeout"]
    states = [connection.state for connection in black_holed.service.connections()]
    assert [state for state in states if state != "closing"] == ["open"], "the one of the pairing may linger"
