"""Per-camera encoders: with spatial softmax (spec 000 sections 2.9 and 8), and the small grayscale trunk of spec 001c section 3.4."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from apprentice_core.errors import ConfigError

PIXEL_SCALE = 1.0 / 255.0
LOGIT_NOISE = 0.1
"""paper: U[-0.1, 0.1] on the logits in training, so that maps learn to be peaked"""


def to_input(image: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-0.5, 0.5], in channels-last memory (no copy beside the conversion)."""
    return image.permute(0, 3, 1, 2).float().mul_(PIXEL_SCALE).sub_(0.5)


class SpatialSoftmax(nn.Module):
    """[B, C, H, W] -> [B, 2 C]: the expected (x, y) of each map under its softmax, in [-1, 1]; x of all maps, then y.

    The temperature is learned and starts at 1 (spec 000 section 8).
    """

    grid: Tensor

    def __init__(self, height: int, width: int, noise: float = LOGIT_NOISE):
        super().__init__()
        self.noise = noise
        self.log_temperature = nn.Parameter(torch.zeros(()))
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack((xs.reshape(-1), ys.reshape(-1))), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        # The convolutions leave channels-last memory; everything below runs over pixels and is ten times faster on rows of them.
        logits = maps.flatten(2).contiguous()
        if self.training and self.noise:
            # One draw serves the whole batch (ours): the same distribution at every pixel, and no 15 % of the update spent on dice.
            logits = logits + torch.empty_like(logits[:1]).uniform_(-self.noise, self.noise)
        weights = torch.softmax(logits * torch.exp(-self.log_temperature), dim=-1)
        return (weights @ self.grid.T).transpose(1, 2).flatten(1)


class Norm(nn.GroupNorm):
    """GroupNorm(8), over 64 channels in float32: PyTorch's bfloat16 kernel for channels-last memory takes six times as long there."""

    def __init__(self, channels: int):
        super().__init__(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() if self.num_channels == 64 else x)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: GroupNorm(8), ReLU, 3x3 conv, twice; a 1x1 conv where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = Norm(inputs), Norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride != 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        # In place: the norm's backward pass needs its input, not its output.
        h = torch.relu_(self.norm1(x))
        h = self.conv2(torch.relu_(self.norm2(self.conv1(h))))
        return self.skip(x) + h


def box_filter(image: Tensor, factor: int) -> Tensor:
    """uint8 [B, H, W, C] -> [B, H/f, W/f, C]: the very numbers of core's `box_reduce`."""
    b, h, w, c = image.shape
    blocks = image.view(b, h // factor, factor, w // factor, factor, c)
    area = factor * factor
    return ((blocks.sum((2, 4), dtype=torch.int32) + area // 2) // area).to(torch.uint8)


@functools.cache
def native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


class CameraEncoder(nn.Module):
    """Convolutions `body`, then spatial softmax. uint8 [B, H, W, 3] -> [B, 2 maps].

    `bfloat16`: the convolutions run in it where the device has it; weights, and the softmax over pixels, stay in float32.
    """

    maps: int
    body: nn.Sequential
    softmax: SpatialSoftmax
    bfloat16 = False

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16 and native_bfloat16(image.device)):
            maps = self.body(to_input(image))
        return self.softmax(maps.float())


class FullEncoder(CameraEncoder):
    """Preset `full`: the ResNet of spec 000 section 8. uint8 [B, H, W, 3] -> [B, 128]; H and W divide by 4."""

    maps = 64

    def __init__(self, height: int, width: int):
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
        for inputs, outputs, stride in ((32, 32, 2), (32, 64, 2), (64, 64, 1)):
            blocks += [ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs, 1)]
        blocks += [Norm(64), nn.ReLU(inplace=True), nn.Conv2d(64, self.maps, 1)]
        self.body = nn.Sequential(*blocks)
        self.softmax = SpatialSoftmax(height // 4, width // 4)
        self.size = 2 * self.maps


class TinyEncoder(CameraEncoder):
    """Preset `tiny` (ours): three convolutions to 32 maps at a quarter of the size, then the same spatial softmax.

    uint8 [B, H, W, 3] -> [B, 64]. 2.2 million multiply-adds for 80x128, 2.6 for 96x128: under 10 MFLOP for both.
    """

    maps = 32

    def __init__(self, height: int, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, self.maps, 1),
        )
        self.softmax = SpatialSoftmax(height // 4, width // 4)
        self.size = 2 * self.maps


class Gray32Encoder(nn.Module):
    """Preset `gray32`: the conv trunk of spec 001c section 3.4 on the mean of the channels. uint8 [B, 32, 32, 3] -> [B, 256].

    Kernels 5/3/3, filters 16/32/64, strides 3/2/2; the last layer is padded, so that 2 x 2 x 64 features are left.
    """

    size = 256
    bfloat16 = False

    def __init__(self, height: int, width: int):
        super().__init__()
        if (height, width) != (32, 32):
            raise ConfigError("network", "encoder", f"gray32 reads frames of 32 x 32; after image_reduction these are {height} x {width}")
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=3), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        )

    def forward(self, image: Tensor) -> Tensor:
        # As mean(-1) to the bit, which takes twice as long over three numbers.
        red, green, blue = image.float().unbind(-1)
        gray = (red + green + blue).div_(3.0).mul_(PIXEL_SCALE).sub_(0.5).unsqueeze(1)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16 and native_bfloat16(image.device)):
            features = self.body(gray)
        return features.float()


class Conv3Encoder(nn.Module):
    """Preset `conv3`: the small network of interactive insertion (spec 000 sections 2.14 and 8), whose two dense layers are the head's.

    Convolutions 32 8x8/4, 64 4x4/2, 64 3x3/1 on colour frames. uint8 [B, H, W, 3] -> [B, 64 h w]: 3136 for 84 x 84.
    """

    bfloat16 = False

    def __init__(self, height: int, width: int):
        super().__init__()
        h, w = (((n - 8) // 4 + 1 - 4) // 2 + 1 - 2 for n in (height, width))
        if min(h, w) < 1:
            raise ConfigError("network", "encoder", f"conv3 reads frames of at least 36 x 36, not {height} x {width}")
        self.size = 64 * h * w
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16 and native_bfloat16(image.device)):
            features = self.body(to_input(image))
        return features.float()


CAMERA_ENCODERS: dict[str, type[FullEncoder] | type[TinyEncoder] | type[Gray32Encoder] | type[Conv3Encoder]] = {
    "full": FullEncoder, "tiny": TinyEncoder, "gray32": Gray32Encoder, "conv3": Conv3Encoder,
}


def multiply_adds(module: nn.Module, *inputs: Tensor | dict[str, Tensor]) -> int:
    """Multiply-adds of all convolutions and linear layers in one forward pass (a FLOP count is twice that)."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
