"""The network that can be cut: what goes through it arrives, and while it is cut nothing does."""

import httpx2
import pytest

from tests.chaos.proxy import Proxy
from tests.spot_core.inference.fake_openai import FakeOpenAI


def test_a_cut_breaks_every_call_until_it_is_mended():
    with FakeOpenAI() as server, Proxy(int(server.base_url.split(":")[2].split("/")[0])) as proxy:
        address = f"http://127.0.0.1:{proxy.port}/v1/models"
        with httpx2.Client(trust_env=False) as http:
            assert http.get(address).json()["data"]
            assert proxy.open == 1
            proxy.cut()
            for _ in range(2):
                with pytest.raises(httpx2.TransportError):
                    http.get(address)
            proxy.mend()
            assert http.get(address).json()["data"]
