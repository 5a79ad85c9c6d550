"""Recurrent distributional DDPG on recorded data alone: equations of spec 000 section 2.10, choices of its section 8.

No behaviour cloning, no pre-training, no conservative term: what learns here is the Bellman equation on much and varied data. Where
data are few, `actor: crr` draws the policy to what was recorded and found better than the policy (spec 000 section 8; not the paper's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from apprentice_core.config import Strict
from apprentice_core.spaces import ArraySpec
from apprentice_learning.algorithms.learner import adam, copy_frozen, pack, unpack
from apprentice_learning.data.batch import SequenceBatch
from apprentice_learning.networks.critics import RecurrentCritic
from apprentice_learning.networks.observation import NetworkConfig
from apprentice_learning.networks.policies import RecurrentPolicy, Spread
from apprentice_learning.networks.recurrent import State, states_before

ActorLoss = tuple[Tensor, Tensor, dict[str, Tensor]]
"""loss, the policy's action [T, B, A], metrics"""


class D4PGConfig(Strict):
    """Spec 000 section 8 (`ours` unless the field says another origin)."""

    actor: Literal["gradient", "crr"] = Field(
        "gradient", description="paper: deterministic policy gradient; crr: weighted regression on recorded actions (spec 000 section 8)"
    )
    critic: Literal["categorical", "scalar"] = Field("categorical", description="paper: distributional; scalar: its ablation")
    gamma: float = Field(0.99, gt=0, le=1, description="ours (Acme's)")
    n_step: int = Field(5, ge=1, description="ours (Acme's)")
    sequence: int = Field(40, ge=1, description="ours: steps of a sequence that are learned from; n more serve as bootstrap")
    v_min: float = Field(0.0, description="ours: rewards in [0, 1]")
    v_max: float = Field(100.0, description="ours: 1 / (1 - gamma)")
    atoms: int = Field(101, ge=2, description="ours; D4PG's common 51 lie on [-150, 150]")
    critic_width: int = Field(256, ge=1, description="ours: the critic's linear layers")
    learning_rate: float = Field(1e-4, gt=0, description="ours (Acme's), all networks")
    target_period: int = Field(100, ge=1, description="ours (Acme's): updates between copies into the target networks")
    gradient_clip: float = Field(40.0, gt=0, description="ours (Acme's): global norm")
    action_gradient_clip: float = Field(1.0, gt=0, description="ours (Acme's): norm of dQ/da")
    crr_weight: Literal["exp", "binary"] = Field("exp", description="released (CRR): both; exp(A / beta), or 1 where A > 0")
    crr_beta: float = Field(1.0, gt=0, description="released (CRR): 1; ours: in units of the spread of A over the batch")
    crr_cap: float = Field(20.0, gt=0, description="released (CRR): largest exp(A / beta)")
    crr_samples: int = Field(4, ge=1, description="released (CRR): actions of the policy whose mean Q is the baseline of A")
    state_reset_period: int = Field(0, ge=0, description="ours: acting policy's state back to zero after so many steps; 0: never")
    compile: bool = Field(False, description="ours: torch.compile of the encoders; needs a C++ compiler or a GPU (docs/agent.md)")

    @model_validator(mode="after")
    def _range(self) -> D4PGConfig:
        if self.v_min >= self.v_max:
            raise ValueError("v_min must be below v_max")
        return self


def n_step_return(
    reward: Tensor, discount: Tensor, valid: Tensor, steps: int, n: int, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """R_n, gamma^m d_t ... d_{t+m-1} and m for the first `steps` steps of [S, B] inputs, S >= steps + n - 1.

    m <= n is the number of valid steps from t on, so the window shrinks at an episode's end (spec 000 section 8); the bootstrap
    state is x_{t+m}. R_n = sum_{i<m} gamma^i (d_t ... d_{t+i-1}) r_{t+i}: nothing counts after a terminal.
    """
    total, factor = torch.zeros_like(reward[:steps]), torch.ones_like(reward[:steps])
    going = torch.ones_like(valid[:steps])
    m = torch.zeros_like(going, dtype=torch.int64)
    for i in range(n):
        going = going & valid[i : i + steps]
        total = total + torch.where(going, factor * reward[i : i + steps], 0.0)
        factor = torch.where(going, factor * gamma * discount[i : i + steps], factor)
        m += going
    return total, factor, m


def project(total: Tensor, factor: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """m_i = sum_j clip(1 - |y_j - z_i| / D, 0, 1) p_j with y_j = clip(R + factor z_j, Vmin, Vmax): [..., K] -> [..., K].

    Each y_j has at most two neighbours z_i, which share p_j by distance; so the sum takes K steps, not K^2.
    """
    last = len(support) - 1
    y = (total.unsqueeze(-1) + factor.unsqueeze(-1) * support).clamp(support[0], support[-1])
    position = ((y - support[0]) * (last / (support[-1] - support[0]))).clamp(0, last)
    lower = position.floor()
    right = position - lower
    index = lower.to(torch.int64)
    m = torch.zeros_like(probabilities).scatter_add_(-1, index, probabilities * (1.0 - right))
    return m.scatter_add_(-1, (index + 1).clamp(max=last), probabilities * right)


class D4PG:
    """One phase. The encoder is shared by actor and critic and trained by the critic's loss alone; the target encoder is copied too."""

    name = "d4pg"
    phases: tuple[str, ...] = ("offline",)
    needs_next = False

    def __init__(self, specs: Sequence[ArraySpec], actions: int, network: NetworkConfig, config: D4PGConfig):
        self.config, self.steps = config, 0
        self.sequence = config.sequence + config.n_step
        atoms = config.atoms if config.critic == "categorical" else 1
        self.actor = RecurrentPolicy(specs, actions, network, config.state_reset_period)
        self.critic = RecurrentCritic(
            self.actor.encoder.size, actions, config.critic_width, network.hidden, atoms, config.v_min, config.v_max
        )
        self.target, self.target_critic = copy_frozen(self.actor).eval(), copy_frozen(self.critic).eval()
        self.spread = Spread(actions)
        self.modules: dict[str, nn.Module] = {
            "policy": self.actor, "spread": self.spread, "critic": self.critic, "target": self.target, "target_critic": self.target_critic,
        }
        self._trained = {
            "policy": [*self.actor.actor_parameters(), *(self.spread.parameters() if config.actor == "crr" else ())],
            "critic": [*self.actor.encoder.parameters(), *self.critic.parameters()],
        }
        self.optimisers = {name: adam(p, config.learning_rate) for name, p in self._trained.items()}
        if config.compile:
            for encoder in (*self.actor.encoder.encoders, *self.target.encoder.encoders):
                encoder.compile()

    def update(self, batch: SequenceBatch) -> dict[str, Tensor]:
        self.actor.train()
        self.critic.train()
        critic_loss, policy_loss, metrics = self._losses(batch)
        for name, loss in (("critic", critic_loss), ("policy", policy_loss)):
            self.optimisers[name].zero_grad(set_to_none=True)
            loss.backward()
            metrics[f"{name}_gradient"] = nn.utils.clip_grad_norm_(self._trained[name], self.config.gradient_clip)
        for optimiser in self.optimisers.values():
            optimiser.step()
        self.steps += 1
        if self.steps % self.config.target_period == 0:
            self.target.load_state_dict(self.actor.state_dict())
            self.target_critic.load_state_dict(self.critic.state_dict())
        return metrics

    def _losses(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(L_Q, L_pi, metrics). L_Q reaches encoder and critic, L_pi the actor alone."""
        t = self.config.sequence
        total, factor, m = n_step_return(batch.reward, batch.discount, batch.valid, t, self.config.n_step, self.config.gamma)
        mask = m > 0
        target = self._target(batch, total, factor, m)

        features = self.actor.encode({n: batch.observation[n][:t] for n in self.actor.inputs})
        output, after = self.critic(features, batch.action[:t])
        q = self.critic.value(output)
        if self.config.critic == "scalar":
            error = (target - q).square()
        else:
            error = -(target * F.log_softmax(output, dim=-1)).sum(-1)
        critic_loss = _mean(error, mask)

        # The critic's state comes from the logged actions and is a constant; the gradient runs through the actor's own LSTM.
        before = tuple(s.detach() for s in states_before(after))
        actor_loss = self._crr if self.config.actor == "crr" else self._policy_gradient
        policy_loss, action, metrics = actor_loss(features.detach(), before, batch.action[:t], q.detach(), mask)
        return critic_loss, policy_loss, metrics | {
            "critic_loss": critic_loss.detach(), "q": _mean(q.detach(), mask),
            "saturated": _mean((action.abs() > 0.97).float().mean(-1), mask),
            "action_error": _mean((action - batch.action[:t]).square().sum(-1), mask),
        }

    def _policy_gradient(self, features: Tensor, before: State, _: Tensor, __: Tensor, mask: Tensor) -> ActorLoss:
        """L_pi = -Q(x, pi(x)), dQ/da clipped to a norm."""
        action = self.actor.act(features)
        free = action.detach().requires_grad_()
        value = self.critic.value(self.critic.one_step(features, free, before))
        gradient = torch.autograd.grad(value.sum(), free)[0]
        norm = gradient.norm(dim=-1, keepdim=True)
        # -Q(x, pi(x)) has the gradient -dQ/da dpi/dphi, written so because dQ/da is clipped to norm 1 in between.
        clipped = gradient * (self.config.action_gradient_clip / norm.clamp(min=self.config.action_gradient_clip))
        loss = _mean(-(clipped * action).sum(-1), mask)
        return loss, free.detach(), {"q_policy": _mean(value.detach(), mask), "action_gradient": _mean(norm.squeeze(-1), mask)}

    def _crr(self, features: Tensor, before: State, recorded: Tensor, q: Tensor, mask: Tensor) -> ActorLoss:
        """L_pi = -f(A) log pi(a | x), A = Q(x, a) - mean_j Q(x, a_j), a_j ~ pi(x), f = min(exp(A / beta), cap) or 1[A > 0]."""
        c = self.config
        mean = self.actor.act(features)
        with torch.no_grad():
            noise = torch.randn((c.crr_samples, *mean.shape), device=mean.device)
            drawn = (mean + noise * self.spread.log_std.exp()).clamp(-1.0, 1.0)
            state = tuple(s.expand(c.crr_samples, *s.shape) for s in before)
            baseline = self.critic.value(self.critic.one_step(features.expand(c.crr_samples, *features.shape), drawn, state)).mean(0)
            advantage = q - baseline
            scale = c.crr_beta * advantage[mask].std(correction=0).clamp(min=1e-3)
            weight = (advantage > 0).float() if c.crr_weight == "binary" else (advantage / scale).exp().clamp(max=c.crr_cap)
        loss = _mean(-weight * self.spread.log_prob(mean, recorded), mask)
        return loss, mean.detach(), {
            "q_policy": _mean(baseline, mask), "advantage_spread": scale / c.crr_beta, "weight": _mean(weight, mask),
            "std": self.spread.log_std.detach().exp().mean(),
        }

    @torch.no_grad()
    def _target(self, batch: SequenceBatch, total: Tensor, factor: Tensor, m: Tensor) -> Tensor:
        """The projected distribution [T, B, K] (or the value [T, B]) that L_Q draws Q(x_t, a_t) to."""
        features = self.target.encode(batch.observation)
        action = self.target.act(features)
        # The target critic unrolls on logged actions too; pi' enters in one step from its state.
        _, after = self.target_critic(features[:-1], batch.action)
        output = self.target_critic.one_step(features[1:], action[1:], after)
        steps = torch.arange(len(m), device=m.device).unsqueeze(-1)
        bootstrap = (steps + m - 1).clamp(min=0)  # entry k is x_{k+1}
        if self.config.critic == "scalar":
            return total + factor * output.squeeze(-1).gather(0, bootstrap)
        chosen = output.gather(0, bootstrap.unsqueeze(-1).expand(-1, -1, output.shape[-1]))
        return project(total, factor, torch.softmax(chosen, dim=-1), self.target_critic.support)

    def validate(self, batch: SequenceBatch) -> dict[str, Tensor]:
        self.actor.eval()
        self.critic.eval()
        # crr draws actions; what training draws must not depend on how often it is validated.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self._losses(batch)[2]

    def policy(self) -> RecurrentPolicy:
        return self.actor

    def set_phase(self, phase: str) -> None:
        if phase not in self.phases:
            raise ValueError(f"d4pg has no phase {phase!r}; known: {', '.join(self.phases)}")

    def state_dict(self) -> dict[str, Tensor]:
        return pack(self.modules, self.optimisers, self.steps)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.steps = unpack(state, self.modules, self.optimisers)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that count."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
