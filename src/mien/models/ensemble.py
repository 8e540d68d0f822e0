"""Several networks as one, for a file that answers as all of them together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Member:
    """A network of an ensemble.

    Attributes:
        network: ``(N, 1, H, W)`` standardised faces → ``(N, C)`` logits.
        mean: Mean that its faces are standardised with, on the scale 0 to 1.
        std: Standard deviation likewise.
        temperature: What its logits are divided by.
    """

    network: nn.Module
    mean: float
    std: float
    temperature: float = 1.0


class EnsembleNet(nn.Module):
    """The mean of its members' probabilities, as logits.

    Input ``(N, 1, H, W)`` float, standardised as for the first member; output ``(N, C)``, the
    logarithms of the mean probabilities.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        first = members[0]
        self.networks = nn.ModuleList(member.network for member in members)
        # From the first member's standardisation to each one's own.
        self._scales = [first.std / member.std for member in members]
        self._shifts = [(first.mean - member.mean) / member.std for member in members]
        self._temperatures = [member.temperature for member in members]

    def forward(self, faces: Tensor) -> Tensor:
        """Return ``(N, C)`` logits for ``(N, 1, H, W)`` standardised faces."""
        own = zip(self.networks, self._scales, self._shifts, self._temperatures, strict=True)
        told = [
            torch.log_softmax(network(faces * scale + shift) / temperature, dim=1)
            for network, scale, shift, temperature in own
        ]
        return torch.logsumexp(torch.stack(told), dim=0) - math.log(len(told))
