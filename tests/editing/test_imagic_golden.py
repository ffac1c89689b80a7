"""Imagic's two losses and their gradients against the numbers of the published scripts."""

import pytest
import torch
from golden import CLOSE, GRADIENTS, Golden, distance
from torch import Tensor

from codiff.composition import Mean
from codiff.editing.imagic import interpolated
from codiff.editing.learned import Learned
from codiff.editing.learner import Learner
from codiff.editing.learning import Learning

STEPS = 3
TOKEN_RATE, MODEL_RATE = 1e-3, 1e-6
STEEP = 1e-3  # of the largest gradient: below, rounding can turn a gradient, and Adam makes a whole step of it


def recorded(golden: Golden, modality: str) -> tuple[Learner, dict[str, Tensor]]:
    """A learner at the recorded start that draws the recorded noises."""
    expected = golden.expected(f"imagic_{modality}")
    settings = Learning(token_steps=STEPS, model_steps=STEPS, model_rate=MODEL_RATE, token_rate=TOKEN_RATE, rank=None)
    learned = Learned(settings, "", "", {modality: expected["emb_tgt"]})

    def draw(step: int) -> tuple[Tensor, Tensor]:
        stage, place = divmod(step, STEPS)
        return expected[f"stage{stage + 1}.{place}.noise"], expected[f"stage{stage + 1}.{place}.t"]

    composition = Mean(golden.pipe.collaborators)
    return Learner(golden.pipe, learned, expected["init_latent"], composition, draw), expected


@pytest.mark.parametrize("modality", ["text", "mask"])
def test_imagic(golden: Golden, modality: str) -> None:
    """Losses to rounding; gradients by what they move: Adam's second and third steps show their proportions."""
    learner, expected = recorded(golden, modality)
    steep = torch.ones_like(expected["emb_tgt"], dtype=torch.bool)
    for place in range(STEPS):
        assert learner.step() == pytest.approx(float(expected[f"stage1.{place}.loss"]), rel=CLOSE)
        optimised = learner.tokens[modality]
        assert optimised.grad is not None
        steep &= optimised.grad.abs() > STEEP * optimised.grad.abs().max()
        moved = optimised.detach() - expected["emb_tgt"]
        recorded_move = expected[f"stage1.{place}.emb_after"] - expected["emb_tgt"]
        assert steep.float().mean() > 0.9
        assert distance(moved[steep], recorded_move[steep]) < GRADIENTS
        assert (moved - recorded_move).abs().max() <= 2 * TOKEN_RATE * (place + 1)
    for place in range(STEPS):
        assert learner.step() == pytest.approx(float(expected[f"stage2.{place}.loss"]), rel=CLOSE)
    own = golden.pipe.collaborators[modality].network.unet.conv_out.weight.detach()
    weight = dict(learner.tuned[modality].model.network.named_parameters())["unet.conv_out.weight"].detach()
    assert distance(weight - own, expected["stage2.out_weight_after"] - own) < GRADIENTS
    for alpha in (0.0, 0.7, 1.5):
        tokens = interpolated({modality: expected["emb_tgt"]}, {modality: learner.tokens[modality]}, {modality: alpha})
        with torch.no_grad():
            found = learner.tuned[modality].model(expected["init_latent"], torch.tensor([500]), tokens).sample
        assert distance(found, expected[f"stage3.eps_alpha{alpha}_t500"]) < CLOSE
