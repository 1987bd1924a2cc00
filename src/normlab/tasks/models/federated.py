"""Models of several clients, which learn by themselves and are averaged now and then."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn


class Federation(nn.Module):
    """A model for each client, all of one architecture.

    Arguments:
        clients: their models.
    """

    def __init__(self, clients: Iterable[nn.Module]) -> None:
        super().__init__()
        self.clients = nn.ModuleList(clients)

    def forward(self, x: Tensor) -> Tensor:
        """What each client makes of its own samples; ``x`` is samples, clients, features."""
        return torch.stack([client(x[:, number]) for number, client in enumerate(self.clients)], dim=1)

    def average(self, local: Collection[str] = ()) -> None:
        """Gives all clients the mean of their parameters and floating-point buffers.

        H. McMahan et al., 2017, arXiv:1602.05629, for clients with equally many samples.

        Arguments:
            local: names of modules, as a client calls them, that each client keeps as its own.

        >>> federation = Federation([nn.Linear(1, 1), nn.Linear(1, 1)])
        >>> federation.average()
        >>> bool(federation.clients[0].weight == federation.clients[1].weight)
        True
        """
        kept = tuple(f"{name}." for name in local)
        with torch.no_grad():
            for name, tensors in _by_name(self.clients).items():
                if not name.startswith(kept) and tensors[0].is_floating_point():
                    mean = torch.stack(tensors).mean(dim=0)
                    for tensor in tensors:
                        tensor.copy_(mean)


def _by_name(clients: Iterable[nn.Module]) -> dict[str, list[Tensor]]:
    tensors: dict[str, list[Tensor]] = {}
    for client in clients:
        for name, tensor in [*client.named_parameters(), *client.named_buffers()]:
            tensors.setdefault(name, []).append(tensor)
    return tensors
