from __future__ import annotations

import numpy as np
import pytest
import torch

from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.encoders import LOGIT_NOISE, ResidualBlock, SpatialSoftmax, TinyEncoder, multiply_adds, to_input
from apprentice_learning.networks.mlp import EnsembleMLP
from apprentice_learning.networks.normaliser import STD_FLOOR, Normaliser
from apprentice_learning.networks.observation import NetworkConfig, ObservationEncoder
from apprentice_learning.networks.policies import LOG_STD_RANGE, GaussianHead, PolicyNetwork

AGENT = (ArraySpec("camera/basket_front_left", (80, 128, 3), "uint8"), ArraySpec("camera/wrist_left", (96, 128, 3), "uint8"),
         ArraySpec("tool/pose", (7,)))
CAMERAS = ("camera/basket_front_left", "camera/wrist_left")


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (9, 15), (4, 0)])
def test_single_hot_pixel_gives_its_coordinates(row, column):
    softmax = SpatialSoftmax(10, 16).eval()
    maps = torch.zeros(1, 2, 10, 16)
    maps[0, 0, row, column] = 80.0
    x, x_flat, y, y_flat = softmax(maps)[0].tolist()
    assert (x, y) == pytest.approx((-1 + 2 * column / 15, -1 + 2 * row / 9), abs=1e-5)
    assert (x_flat, y_flat) == pytest.approx((0, 0), abs=1e-6)


def test_logit_noise_only_in_training_and_bounded():
    softmax = SpatialSoftmax(4, 4)
    maps = torch.zeros(1, 1, 4, 4)
    assert not torch.equal(softmax(maps), torch.zeros(1, 2))
    assert torch.allclose(softmax.eval()(maps), torch.zeros(1, 2), atol=1e-6)
    assert LOGIT_NOISE == 0.1


def test_logit_noise_fills_its_range_and_no_more():
    """Of two pixels the expected x is tanh of half the difference of their logits, so the noise shows whole in it."""
    torch.manual_seed(0)
    softmax = SpatialSoftmax(1, 2)
    seen = torch.cat([softmax(torch.zeros(1, 400, 1, 2))[0, :400] for _ in range(5)]).detach().atanh()
    assert 0.09 < seen.abs().max() <= 0.1 + 1e-6 and seen.mean().abs() < 0.005
    assert seen.std() == pytest.approx(0.1 / 6**0.5, rel=0.05)  # half the difference of two uniform numbers


def test_proprioception_goes_through_linear_layernorm_tanh():
    torch.manual_seed(0)
    encoder = ObservationEncoder(AGENT, NetworkConfig(proprio=("tool/pose",))).eval()
    linear = next(m for m in encoder.modules() if isinstance(m, torch.nn.Linear))
    x = torch.randn(5, 7)
    h = encoder.branch.normaliser(x) @ linear.weight.T + linear.bias
    norm = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(encoder({"tool/pose": x}), norm.tanh(), atol=1e-5) and h.shape == (5, 64)


def test_blocks_are_residual():
    torch.manual_seed(0)
    block, x = ResidualBlock(32, 32, 1), torch.randn(1, 32, 6, 6)
    torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)
    assert sum(isinstance(m, ResidualBlock) for m in ObservationEncoder(AGENT, NetworkConfig(cameras=CAMERAS)).encoders[0].modules()) == 6


def test_temperature_sharpens():
    softmax = SpatialSoftmax(5, 5).eval()
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 0, 0] = 1.0
    soft = softmax(maps)[0, 0].item()
    softmax.log_temperature.data.fill_(-2.0)
    assert softmax(maps)[0, 0].item() < soft < 0
    softmax(maps).sum().backward()
    assert softmax.log_temperature.grad.abs() > 0


def test_tiny_stays_under_ten_megaflop_an_observation():
    encoder = ObservationEncoder(AGENT, NetworkConfig(cameras=CAMERAS, proprio=("tool/pose",), encoder="tiny"))
    observation = {s.name: torch.zeros((1, *s.shape), dtype=getattr(torch, s.dtype)) for s in AGENT}
    flops = 2 * multiply_adds(encoder, observation)
    # Counted by hand, from the shapes: stem 27*8, second 72*24, third 24*32 a position, and the proprioception branch.
    stem, rest = 40 * 64 + 48 * 64, 20 * 32 + 24 * 32
    assert flops == 2 * (stem * 27 * 8 + rest * (72 * 24 + 24 * 32) + 7 * 64)
    assert flops <= 10e6


def test_full_has_the_sizes_of_the_spec():
    encoder = ObservationEncoder(AGENT, NetworkConfig(cameras=CAMERAS, encoder="full"))
    features = encoder({s.name: torch.zeros((2, *s.shape), dtype=getattr(torch, s.dtype)) for s in AGENT[:2]})
    assert features.shape == (2, 2 * 128)
    assert encoder.encoders[0].softmax.grid.shape == (2, 20 * 32)
    assert sum(isinstance(m, torch.nn.GroupNorm) and m.num_groups == 8 for m in encoder.encoders[0].modules()) == 13


def test_pixels_are_scaled_and_layout_is_kept():
    image = torch.randint(0, 256, (2, 8, 12, 3), dtype=torch.uint8)
    x = to_input(image)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(x[1, 2, 3, 4], image[1, 3, 4, 2] / 255.0 - 0.5)
    assert TinyEncoder(8, 12)(image).shape == (2, 64)


def test_ensemble_equals_separate_networks():
    net = EnsembleMLP(2, (5, 16, 1))
    x = torch.randn(7, 5)
    for k in range(2):
        hidden = torch.relu(x @ net.weights[0][k] + net.biases[0][k])
        assert torch.allclose(net(x)[k], hidden @ net.weights[1][k] + net.biases[1][k], atol=1e-6)
    assert not torch.allclose(net(x)[0], net(x)[1])


def test_normaliser():
    rows = np.stack([np.linspace(-1, 3, 50), np.full(50, 7.0)], axis=1).astype(np.float32)
    n = Normaliser(2)
    n.fit(rows)
    out = n(torch.from_numpy(rows))
    assert torch.allclose(out.mean(0), torch.zeros(2), atol=1e-5)
    assert out[:, 0].std(unbiased=False) == pytest.approx(1.0, abs=1e-4)
    assert n(torch.tensor([[1e6, 7.0 + STD_FLOOR]])).tolist() == [[5.0, pytest.approx(1.0, abs=1e-3)]]
    with pytest.raises(ValueError, match="NaN"):
        n.fit(np.full((3, 2), np.nan, dtype=np.float32))


def test_gaussian_head_is_an_unsquashed_normal():
    head = GaussianHead(4, 3, (8,))
    head.log_std_parameter.data[:] = torch.tensor([-9.0, 0.5, 9.0])
    assert head.log_std.tolist() == [LOG_STD_RANGE[0], 0.5, LOG_STD_RANGE[1]]
    mean = head(torch.randn(6, 4))
    assert mean.abs().max() <= 1
    action = torch.rand(6, 3) * 2 - 1
    expected = torch.distributions.Normal(mean, head.log_std.exp()).log_prob(action).sum(-1)
    assert torch.allclose(head.log_prob(mean, action), expected, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"cameras": ["tool/pose"]}, {"proprio": ["camera/wrist_left"]}, {"proprio": ["nowhere"]}, {}])
def test_wrong_inputs_are_refused_by_name(wrong):
    with pytest.raises(ConfigError) as error:
        PolicyNetwork(AGENT, 7, NetworkConfig.model_validate(wrong))
    assert not wrong or next(iter(wrong.values()))[0] in str(error.value)


def test_proprio_noise_and_dropout_only_in_training():
    config = NetworkConfig(proprio=("tool/pose",), proprio_noise=0.5, proprio_dropout=0.5, proprio_embedding=0)
    encoder = ObservationEncoder(AGENT, config)
    x = {"tool/pose": torch.ones(400, 7)}
    dropped = (encoder(x) == 0).all(1).float().mean().item()
    assert 0.35 < dropped < 0.65
    assert torch.equal(encoder.eval()(x), x["tool/pose"])
