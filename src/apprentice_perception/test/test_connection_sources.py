from __future__ import annotations

from pathlib import Path

import pytest

from apprentice_core.errors import ApprenticeError
from apprentice_perception.connection_sources import DeviceFile, UsbDevice, make_source


def test_a_device_file_is_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "usb-serial"
    source = make_source("device", str(path))
    assert isinstance(source, DeviceFile) and not source.connected()
    path.touch()
    assert source.connected()
    path.unlink()
    assert not source.connected()


def test_a_usb_device_is_connected_while_it_is_enumerated(tmp_path: Path) -> None:
    def plug(folder: str, vendor: str, product: str) -> Path:
        place = tmp_path / folder
        place.mkdir()
        (place / "idVendor").write_text(vendor + "\n")
        (place / "idProduct").write_text(product + "\n")
        return place

    (tmp_path / "1-0:1.0").mkdir()
    plug("1-1", "046d", "0001")
    source = UsbDevice("046D:c52b", tmp_path)
    assert not source.connected(), "the vendor alone is another device"
    stick = plug("1-2", "046d", "c52b")
    assert source.connected()
    (stick / "idProduct").unlink()
    assert not source.connected()
    assert not UsbDevice("046d:c52b", tmp_path / "nowhere").connected()


@pytest.mark.parametrize(("kind", "device"), [("device", ""), ("usb", ""), ("usb", "046d"), ("usb", "046d:zzzz"), ("usb", "046d:c52b0")])
def test_a_device_that_cannot_be_is_refused(kind: str, device: str) -> None:
    with pytest.raises(ApprenticeError, match="device"):
        make_source(kind, device)
