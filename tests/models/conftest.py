"""One encoder for the whole session: loading it is what takes time."""

import pytest

from models.encoder import Encoder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The packaged model in float32, the reference."""
    return Encoder(precision="float32")


@pytest.fixture(scope="session")
def titles() -> list[str]:
    """Texts of many lengths, ordinary and hostile."""
    return [
        "HP LaserJet 1020 toner cartridge black",
        "USB cable",
        "Lenovo ThinkPad X1 Carbon 14 inch notebook, Intel Core i7, 16 GB memory, 512 GB SSD, Windows 11 Pro, black",
        "StarTech.com DB9 RS232 serial null modem adapter M/F",
        "Kensington wireless mouse",
        "Café crème mug, ünïcode",
        "无线鼠标 罗技",
        "Samsung 27 inch curved gaming monitor",
    ]
