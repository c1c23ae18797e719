"""The objectives: totals worked out from their parts, and what they leave of themselves in the network: nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.models import edlgfs, lkca
from hypersharp.train.losses import H_LOSS, KD_LOSS, cosine, gradient, l1, sam, sobel
from hypersharp.train.objective import Distilled, EdgeDistilled, Supervised, tapped

SMALL = lkca.Config(features=8, blocks=2, reduction=4)
EDGE = edlgfs.Config(features=24, stages=2, layers=1, heads=2)


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.build("lkca_net", bands=4, scale=2, config=SMALL)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(9)
    return torch.rand(2, 4, 6, 6), torch.rand(2, 4, 12, 12)


def test_supervised_is_the_sum_of_its_weighted_terms():
    net, (lr, hr) = student(), batch()
    scored = Supervised(net, loss=H_LOSS)(lr, hr)
    sr = net(lr)
    by_hand = l1(sr, hr) + 0.5 * sam(sr, hr) + 0.1 * gradient(sr, hr)
    assert scored.total.item() == pytest.approx(by_hand.item(), rel=1e-6)
    assert set(scored.parts) == {"l1", "sam", "gradient"}


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.01), (9, 0.01), (10, 0.0066), (25, 0.01 * 0.66**2)])
def test_distillation_fades_by_floors_of_epochs(epoch, share):
    net, teacher, (lr, hr) = student(), student(1), batch()
    scored = Distilled(net, loss={"l1": 1.0}, teacher=teacher)(lr, hr, epoch=epoch)
    sr, taught = net(lr), teacher(lr)
    kd = 0.5 * cosine(sr, taught) + 0.5 * sam(sr, taught) + 0.1 * gradient(sr, taught)
    assert scored.total.item() == pytest.approx((l1(sr, hr) + share * kd).item(), rel=1e-6)


def test_a_student_of_itself_has_nothing_to_learn_from_itself():
    net, (lr, hr) = student(), batch()
    scored = Distilled(net, loss=H_LOSS, teacher=student(), distil_loss=KD_LOSS, taps=("upsample", "upsample"))(lr, hr)
    assert scored.parts["kd_cosine"].item() == pytest.approx(0, abs=1e-5)
    assert scored.parts["kd_gradient"].item() == 0


def test_the_teacher_is_frozen_and_in_no_weights():
    teacher = student(1)
    objective = Distilled(student(), loss=H_LOSS, teacher=teacher).train()
    objective(*batch()).total.backward()
    assert not teacher.training
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())
    assert len(objective.state_dict()) == len(objective.model.state_dict())


def test_taps_of_different_shapes_are_refused():
    objective = Distilled(student(), loss=H_LOSS, teacher=student(1), taps=("upsample", "head"))
    with pytest.raises(UsageError, match="taps must have one shape"):
        objective(*batch())
    with pytest.raises(UsageError, match="'upsampel'"), tapped(student(), ["upsampel"]):
        pass


def edge(**options) -> EdgeDistilled:
    torch.manual_seed(0)
    net = models.build("edlgfs", bands=4, scale=2, config=EDGE)
    return EdgeDistilled(
        net, loss={"l1": 1.0}, bands=4, scale=2, taps=models.get_spec("edlgfs").taps(EDGE)["stages"], **options
    )


def test_edge_objective_by_its_parts():
    objective, (lr, hr) = edge(), batch()
    scored = objective(lr, hr)
    edges, edge_map = objective.branch(lr)
    with tapped(objective.model, ("stages.0", "stages.1")) as stages:
        sr = objective.model(lr)
    features = sum((a - b).abs().mean() for a, b in zip(stages, edges, strict=True)) / 2
    data = (sr - hr).abs().mean() + (edge_map - sobel(hr)).abs().mean()
    by_hand = 0.95 * data + 0.05 * (features + (sobel(sr) - edge_map).abs().mean())
    assert scored.total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert scored.parts["alpha"].item() == pytest.approx(0.95, rel=1e-6)


def test_weights_start_at_the_logit_difference_of_19_and_cannot_run_away():
    objective = edge()
    assert (objective.logits[0] - objective.logits[1]).item() == pytest.approx(math.log(19), rel=1e-6)
    optimiser = torch.optim.SGD([objective.logits], lr=1e3)
    for _ in range(20):
        optimiser.zero_grad()
        objective(*batch()).total.backward()
        optimiser.step()
    alpha, beta = torch.softmax(objective.logits, 0).tolist()
    assert 0 <= alpha <= 1
    assert alpha + beta == pytest.approx(1)
    assert objective(*batch()).total.item() > 0


def test_fixed_weights_do_not_learn():
    objective = edge(learnable=False)
    assert not isinstance(objective.logits, nn.Parameter)
    assert objective(*batch()).parts["alpha"].item() == pytest.approx(0.95)


@pytest.mark.parametrize("detach", [False, True])
def test_detached_edges_teach_and_do_not_learn_from_the_network(detach):
    """With the weight on the edge terms alone, gradient reaches the Edge Nets only where edges are not detached."""
    objective = edge(learnable=False, detach=detach, start=1e-9)
    objective(*batch()).total.backward()
    reached = max(float(weight.grad.abs().max()) for weight in objective.branch.nets.parameters())
    assert (reached > 1e-6) is not detach
    assert max(float(weight.grad.abs().max()) for weight in objective.model.stages.parameters()) > 1e-6


def test_nothing_of_the_edge_branch_is_in_the_network():
    plain = models.build("edlgfs", bands=4, scale=2, config=EDGE)
    assert set(edge().model.state_dict()) == set(plain.state_dict())


def test_the_edge_branch_costs_what_the_dossier_says():
    """About 1.49 M weights at 48 bands, x4 and four stages, and none of them in the network."""
    net = models.build("edlgfs", bands=48, scale=4)
    taps = models.get_spec("edlgfs").taps(edlgfs.Config())["stages"]
    objective = EdgeDistilled(net, loss={"l1": 1.0}, bands=48, scale=4, taps=taps)
    assert sum(weight.numel() for weight in objective.branch.parameters()) / 1e6 == pytest.approx(1.49, abs=0.01)


def test_edges_around_another_network():
    net = student()
    taps = models.get_spec("lkca_net").taps(SMALL)["stages"]
    scored = EdgeDistilled(net, loss={"l1": 1.0}, bands=4, scale=2, taps=taps)(*batch())
    assert torch.isfinite(scored.total)
