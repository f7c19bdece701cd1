"""First-order ascent on the multipliers of the semidefinite relaxation."""

import math

import torch
from torch import Tensor

from epsball.certificates.semidefinite.cube import Cube, Multipliers


def least(cube: Cube, of: Multipliers) -> tuple[Tensor, Tensor]:
    """Return the least value of the Lagrangian with cube, (m,), and half its matrix's log determinant, without proof.

    With Q = M + diag(q) it is k - losses - sum(q) - p' Q^-1 p / 4; -inf where Q is not positive definite. The inputs'
    block of Q is diagonal and is eliminated first.
    """
    found = cube.lagrangian(of)
    d = cube.inputs
    D = found.D + of.cube[:, :d]
    scaled = found.B / D.unsqueeze(1)
    S = found.C + torch.diag_embed(of.cube[:, d:]) - scaled @ found.B.mT
    x_p, r_p = 0.5 * found.p[:, :d], 0.5 * found.p[:, d:]
    factor, failed = torch.linalg.cholesky_ex(S)
    rest = (r_p - (scaled @ x_p.unsqueeze(2)).squeeze(2)).unsqueeze(2)
    half = torch.linalg.solve_triangular(factor, rest, upper=False)
    lost = (x_p**2 / D).sum(dim=1) + (half**2).sum(dim=(1, 2))
    value = found.k - cube.losses(of) - of.cube.sum(dim=1) - lost
    definite = (failed == 0) & (D > 0).all(dim=1)
    logs = D.log().sum(dim=1) / 2 + factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return torch.where(definite, value, -math.inf), logs


def ascended(cube: Cube, start: Multipliers, *, steps: int = 300, size: float = 0.05, barrier=(1e-2,1e-6), trace=False) -> Multipliers:
    m = len(cube.constant)
    scale = (start.cube.sum(dim=1)/ start.cube.shape[1]).view(-1,1)
    parts = {name: (part / scale).clone().requires_grad_() for name, part in start._asdict().items()}
    units = {name: part.detach().clone() for name, part in parts.items()}
    optimiser = torch.optim.Adam(parts.values(), lr=size, maximize=True, betas=(0.9, 0.99))
    best = torch.full((m,), -math.inf, dtype=torch.float64)
    kept = {name: part.detach().clone() for name, part in parts.items()}
    good = {name: part.detach().clone() for name, part in parts.items()}
    rate = torch.ones(m, 1, dtype=torch.float64)
    for step in range(steps):
        share = step / max(1, steps - 1)
        beta = barrier[0] * (barrier[1] / barrier[0]) ** share
        current = Multipliers(**{name: part * scale for name, part in parts.items()})
        value, logs = least(cube, current)
        fine = torch.isfinite(value)
        better = value.detach() > best
        best = torch.where(better, value.detach(), best)
        with torch.no_grad():
            for name, part in parts.items():
                kept[name] = torch.where(better.unsqueeze(1), part, kept[name])
                good[name] = torch.where(fine.unsqueeze(1), part, good[name])
        if trace and step % 50 == 0: print(step, beta, value.tolist(), best.tolist(), rate.flatten().tolist())
        goal = torch.where(fine, value / scale[:, 0] + beta * logs, 0.0).sum()
        optimiser.zero_grad()
        goal.backward()
        for part in parts.values():
            if part.grad is not None: part.grad.nan_to_num_(0.0)
        optimiser.param_groups[0]["lr"] = size * 0.02 ** share
        optimiser.step()
        with torch.no_grad():
            for name, part in parts.items():
                if name != "complement":
                    part.clamp_(min=0.0 if name!="cube" else 1e-9)
                # a row that left the cone goes back half way
                part.copy_(torch.where(fine.unsqueeze(1), part, 0.5*(good[name]+part)))
    return Multipliers(**{name: part.detach() * scale for name, part in kept.items()})
