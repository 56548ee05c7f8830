"""Source heads act on each position alone, and give what the whole network gives; what is no such head is named."""

import pytest
import timm
import torch

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, SourceHead, head_tensors, linear_head
from medtransfer.encoders.weights import load_encoder_weights


def perturbed(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a timm model after small changes, since a fresh classifier may be zero."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator) if name.endswith(("weight", "bias")) else tensor
        for name, tensor in network.state_dict().items()
    }


@torch.no_grad()
def test_each_position_is_classified_alone_and_the_mean_is_the_output_of_the_classifier(tiny):
    model = Classifier(tiny("unet", depth=4), 5).eval()
    initialise(model, 3)
    head, image = SourceHead(model.head), torch.rand(2, 3, 32, 48)
    last = model.encoder(image)[-1]
    logits = head(last)
    for image_index, row, column in ((0, 0, 0), (1, 2, 5), (0, 3, 1)):
        position = model.head.weight @ last[image_index, :, row, column] + model.head.bias
        assert torch.allclose(logits[image_index, :, row, column], position, atol=1e-5)
    assert torch.allclose(logits.mean((2, 3)), model(image), atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
@torch.no_grad()
def test_the_classifier_of_a_timm_model_gives_its_logits(name):
    """That of ResNet follows the mean, of ConvNeXt a norm of the mean, of EfficientNet a convolution of one position."""
    network = timm.create_model(name, num_classes=7).eval()
    tensors = {f"module.{key}": tensor for key, tensor in perturbed(network).items()}
    network.load_state_dict({key.removeprefix("module."): tensor for key, tensor in tensors.items()})
    encoder = build_encoder("timm", name=name)
    audit = load_encoder_weights(encoder, tensors, source="file")
    head = encoder.eval().source_head(head_tensors(encoder, tensors, audit))
    assert isinstance(head, SourceHead) and head.classes == 7
    image = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    last, expected = encoder(image)[-1], network(image)
    assert torch.allclose(head.of_images(last)[..., 0, 0], expected, atol=1e-4)
    assert torch.allclose(head(last)[..., 2, 3], head.of_images(last[..., 2:3, 3:4])[..., 0, 0], atol=1e-4)


def test_heads_that_do_not_follow_a_mean_are_named():
    network = timm.create_model("test_vit", num_classes=7)  # a class token
    encoder = build_encoder("timm", name="test_vit")
    audit = load_encoder_weights(encoder, tensors := perturbed(network), source="file")
    own = head_tensors(encoder, tensors, audit)
    assert encoder.source_head(own) == NoHead("its classifier is no linear layer on the mean of its last level")
    assert encoder.source_head({}) == NoHead("its weights hold no classifier")
    own["head.weight"] = own["head.weight"][:, :5]
    assert encoder.source_head(own) == NoHead("its classifier lacks fitting tensors, such as head.weight")


@pytest.mark.parametrize(("build", "name"), [("resnet50", "fc"), ("swin", "head.fc"), ("swin", "head"), ("unet", "head")])
def test_the_classifier_of_our_architectures_is_found_by_its_published_names(tiny, build, name):
    encoder = tiny(build)
    weight, bias = torch.rand(3, encoder.levels[-1].channels), torch.rand(3)
    tensors = {f"model.{key}": tensor + 1 for key, tensor in encoder.state_dict().items()}
    tensors |= {f"model.{name}.weight": weight, f"model.{name}.bias": bias}
    audit = load_encoder_weights(encoder, tensors, source="file")
    head = encoder.source_head(head_tensors(encoder, tensors, audit))
    assert isinstance(head, SourceHead)
    assert torch.equal(head.layers[0].weight, weight) and torch.equal(head.layers[0].bias, bias)


@pytest.mark.parametrize(("prefix", "kept"), [("", True), ("module.", True), ("module.encoder_q.", False), ("backbone.", False)])
def test_a_layer_of_another_network_is_no_classifier(tiny, prefix, kept):
    """MoCo's file has a projection `encoder_q.fc` of 128 outputs."""
    encoder = tiny("resnet50")
    tensors = {f"{prefix}{key}": tensor + 1 for key, tensor in encoder.state_dict().items()}
    tensors |= {f"{prefix}fc.weight": torch.rand(128, encoder.levels[-1].channels), f"{prefix}fc.bias": torch.rand(128)}
    audit = load_encoder_weights(encoder, tensors, source="file")
    assert isinstance(encoder.source_head(head_tensors(encoder, tensors, audit)), SourceHead) is kept


@pytest.mark.parametrize(
    ("shape", "value", "reason"),
    [((3, 5), 0.0, "no linear layer on the 4 channels"), ((1, 4), 0.0, "a single output"), ((3, 4), torch.nan, "not finite"),
     ((3, 4, 1), 0.0, "no linear layer")],
)  # fmt: skip
def test_what_gives_no_probabilities_is_named(shape, value, reason):
    head = linear_head(4, torch.full(shape, value), None)
    assert isinstance(head, NoHead) and reason in head.reason
