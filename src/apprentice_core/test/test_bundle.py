import json

import numpy as np
import pytest

from apprentice_core.bundle import read_bundle, read_manifest, write_bundle
from apprentice_core.errors import BundleError

FIELDS = {"kind": "policy", "name": "p", "algorithm": "bc", "observation": [{"name": "tool/pose", "shape": [7]}]}


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "policy"
    write_bundle(folder, {"w": np.arange(4, dtype=np.float32)}, **FIELDS)
    return folder


def test_round_trip_and_identity(bundle, tmp_path):
    manifest, tensors = read_bundle(bundle)
    assert manifest.algorithm == "bc" and tensors["w"].tolist() == [0, 1, 2, 3]
    same = write_bundle(tmp_path / "same", {"w": np.arange(4, dtype=np.float32)}, **FIELDS)
    other = write_bundle(tmp_path / "other", {"w": np.zeros(4, dtype=np.float32)}, **FIELDS)
    assert same == write_bundle(bundle, {"w": np.arange(4, dtype=np.float32)}, **FIELDS) != other


def test_changed_weights_are_refused(bundle):
    path = bundle / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="weights_hash"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"kind": "virus"}, "kind"), ({"format": 2}, "format"), ({"history": 0}, "history"), ({"surprise": 1}, "surprise")],
)
def test_a_malformed_manifest_is_one_line_with_file_and_field(bundle, change, field):
    path = bundle / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError) as error:
        read_manifest(bundle)
    assert "bundle.json" in str(error.value) and field in str(error.value) and "\n" not in str(error.value)


def test_torn_or_missing_files_are_named(bundle):
    (bundle / "bundle.json").write_text('{"format": 1,')
    with pytest.raises(BundleError, match=r"bundle\.json: is not JSON"):
        read_manifest(bundle)
    with pytest.raises(BundleError, match="cannot be read"):
        read_manifest(bundle / "nowhere")
