"""From an observation (dict of arrays) to one feature vector: camera encoders beside the proprioception branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from apprentice_core.config import Strict
from apprentice_core.errors import ConfigError
from apprentice_core.spaces import ArraySpec
from apprentice_learning.networks.encoders import CAMERA_ENCODERS, CameraEncoder, box_filter
from apprentice_learning.networks.normaliser import Normaliser
from apprentice_learning.networks.vector_input import VectorInput
from apprentice_learning.representations.config import SplitConfig
from apprentice_learning.representations.split import Latent, SplitEncoder

TensorObservation = dict[str, Tensor]


class NetworkConfig(Strict):
    """What rebuilds a network, together with the observation's specs and the action size."""

    cameras: tuple[str, ...] = Field((), description="image arrays that the policy reads, e.g. camera/wrist_left")
    proprio: tuple[str, ...] = Field(
        (), description="vector arrays that the policy reads, or slices of them: tool/pose[0:3]; goal/<name>: of the segment's goal"
    )
    encoder: Literal["tiny", "full", "gray32", "conv3", "split"] = Field(
        "full",
        description="full: ours after spec 000 section 8; tiny: ours, <= 10 MFLOP; gray32: released code (spec 001c section 3.4); "
        "conv3: ours after spec 000 section 2.14; "
        "split: latents of spec 001c section 4.3",
    )
    split: SplitConfig | None = Field(None, description="of the encoder `split`, and of no other")
    image_reduction: int = Field(
        1, ge=1, le=8, description="ours: side of the box filter that makes the frames smaller before the encoder; 1: as recorded"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="ours: of the convolutions, in training and acting; bfloat16 only where the device computes it natively"
    )
    proprio_embedding: int = Field(64, ge=0, description="ours (spec 000 section 8); 0: normalised vectors as they are")
    proprio_noise: float = Field(0.0, ge=0, description="ours: std added in training to normalised proprioception")
    proprio_dropout: float = Field(0.0, ge=0, lt=1, description="ours: chance that a training sample sees no proprioception")
    hidden: tuple[int, ...] = Field((256, 256), description="paper: 2 layers of 256; of a recurrent policy and critic, their LSTMs")
    dropout: float = Field(0.0, ge=0, lt=1, description="paper: 0 (0.1 for Kitchen and Adroit); policy only")

    @field_validator("proprio")
    @classmethod
    def _slices(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            VectorInput.parse(name)
        return names

    @model_validator(mode="after")
    def _split_belongs_to_its_encoder(self) -> NetworkConfig:
        if (self.encoder == "split") != (self.split is not None):
            raise ValueError("split: give it with the encoder `split`, and with no other")
        if self.split is not None and not self.cameras:
            raise ValueError("cameras: the encoder `split` needs one")
        return self

    @property
    def vectors(self) -> tuple[VectorInput, ...]:
        """What `proprio` names."""
        return tuple(VectorInput.parse(name) for name in self.proprio)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that the network reads, each once."""
        return tuple(dict.fromkeys((*self.cameras, *(v.array for v in self.vectors))))


class ProprioBranch(nn.Module):
    """Concatenate, normalise, then linear, LayerNorm, tanh (spec 000 section 2.9). [B, n] -> [B, embedding or n]."""

    def __init__(self, inputs: int, config: NetworkConfig):
        super().__init__()
        self.noise, self.drop = config.proprio_noise, config.proprio_dropout
        self.normaliser = Normaliser(inputs)
        self.size = config.proprio_embedding or inputs
        self.layers: nn.Module = nn.Identity()
        if config.proprio_embedding:
            self.layers = nn.Sequential(nn.Linear(inputs, self.size), nn.LayerNorm(self.size), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        h = self.normaliser(x)
        if self.training:
            if self.noise:
                h = h + self.noise * torch.randn_like(h)
            if self.drop:
                h = h * (torch.rand(len(h), 1, device=h.device) >= self.drop)
        return self.layers(h)


class ObservationEncoder(nn.Module):
    """dict of [B, ...] tensors -> features [B, size]. Cameras have weights of their own (spec 000 section 2.9).

    Frames may come as recorded, or reduced already by `config.image_reduction`: the result is the same.
    """

    stored = ""
    """name under which an observation may hold this encoder's features [B, size], computed before; only of a frozen one"""
    frozen = False

    def __init__(self, specs: Sequence[ArraySpec], config: NetworkConfig):
        super().__init__()
        known = {s.name: s for s in specs}
        self.cameras, self.vectors, self.reduction = config.cameras, config.vectors, config.image_reduction
        self.encoders = nn.ModuleList()
        for name in config.cameras:
            if name not in known:
                raise ConfigError("network", "cameras", f"no array named {name!r}")
            shape, divisor = known[name].shape, 4 * self.reduction
            if len(shape) != 3 or shape[2] != 3 or known[name].dtype != "uint8" or shape[0] % divisor or shape[1] % divisor:
                raise ConfigError("network", f"cameras.{name}", f"needs uint8 [H, W, 3] with H and W dividing by {divisor}, got {shape}")
            encoder = _camera_encoder(config, shape[0] // self.reduction, shape[1] // self.reduction)
            encoder.bfloat16 = config.precision == "bfloat16"
            self.encoders.append(encoder)
        self._heights = [known[n].shape[0] for n in config.cameras]
        inputs = sum(v.size(known, "proprio") for v in self.vectors)
        self.branch = ProprioBranch(inputs, config) if inputs else None
        self.size = sum(e.size for e in self.encoders) + (self.branch.size if self.branch else 0)
        if not self.size:
            raise ConfigError("network", "cameras", "the policy reads neither a camera nor a vector")

    def fit_normaliser(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes mean and spread of the vectors from rows [N, ...] of data; ValueError when they are not finite."""
        if self.branch is not None:
            self.branch.normaliser.fit(np.concatenate([v.of(arrays) for v in self.vectors], axis=1))

    @property
    def trainable(self) -> bool:
        return next(self.parameters(), None) is not None

    def _reduced(self, image: Tensor, height: int) -> Tensor:
        """Frames of the recorded height go through the box filter; training reads frames that went through it once, before."""
        return box_filter(image, self.reduction) if self.reduction > 1 and image.shape[1] == height else image

    def freeze(self, stored: str = "") -> None:
        """No gradient from here on, no sampling and no noise (spec 001c 4.5); features may be handed in under the name `stored`."""
        self.frozen, self.stored = True, stored
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ObservationEncoder:
        super().train(mode and not self.frozen)
        return self

    def encode(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, list[Latent]]:
        """(features, the latents of split encoders, camera by camera)."""
        parts, latents = [], []
        for name, encoder, height in zip(self.cameras, self.encoders, self._heights, strict=True):
            image = self._reduced(observation[name], height)
            if isinstance(encoder, SplitEncoder):
                latents.append(encoder.latent(image))
                parts.append(latents[-1].z)
            else:
                parts.append(encoder(image))
        if self.branch is not None:
            vectors = [v.of(observation) for v in self.vectors]
            parts.append(self.branch(vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), latents

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        if not self.frozen:
            return self.encode(observation)[0]
        if self.stored in observation:
            return observation[self.stored]
        with torch.no_grad():
            return self.encode(observation)[0]


def _camera_encoder(config: NetworkConfig, height: int, width: int) -> CameraEncoder | SplitEncoder:
    if config.split is not None:
        return SplitEncoder(height, width, config.split)
    return CAMERA_ENCODERS[config.encoder](height, width)
