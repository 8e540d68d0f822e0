import torch

from mien.models.attention import ConvolutionalAttention, SqueezeExcitation, build_attention


def test_squeeze_scales_each_channel_alike_everywhere() -> None:
    maps = torch.rand(2, 16, 5, 5) + 0.1

    gate = SqueezeExcitation(16)(maps) / maps

    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))
    assert ((gate > 0) & (gate < 1)).all()


def test_cbam_weighs_channels_and_positions() -> None:
    maps = torch.rand(2, 16, 5, 5) + 0.1

    gate = ConvolutionalAttention(16)(maps) / maps

    assert ((gate > 0) & (gate < 1)).all()
    positions = gate[0, 0] / gate[0, 1]  # the gate of a position is the same for all channels
    torch.testing.assert_close(positions, positions[:1, :1].expand_as(positions))
    assert gate[0, 0].std() > 0


def test_none_changes_nothing() -> None:
    maps = torch.rand(2, 16, 5, 5)

    assert torch.equal(build_attention("none", 16)(maps), maps)


def test_squeeze_takes_the_weights_of_dense_layers() -> None:
    module, maps = SqueezeExcitation(16), torch.rand(2, 16, 5, 5)
    older = {name: value.squeeze() for name, value in module.state_dict().items()}
    assert older["reduce.weight"].shape == (2, 16)
    fresh = SqueezeExcitation(16)
    assert not torch.allclose(fresh(maps), module(maps))

    fresh.load_state_dict(older)

    torch.testing.assert_close(fresh(maps), module(maps))
