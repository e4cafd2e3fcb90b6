# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model: a small SAM 2 that comes with the extension.

The parts that make it SAM 2 are sam2's own code: prompt encoder, mask decoder, memory encoder,
memory attention, object pointers. Two parts are ours. The trunk is EfficientNet-Lite0 instead of
Hiera, which costs much less. The neck carries context up to stride 4, because thin parts need it
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from ...core import checkpoint_catalogue

BUNDLED_WEIGHTS: Final = checkpoint_catalogue.BUNDLED_WEIGHTS
"""The weights that come with the extension: safetensors, fp16. Loading casts them to fp32."""

BUNDLED_IMAGE_SIZE: Final = 512
"""Side of the square to which a frame is resized, px. The side of a matte is a quarter of it."""

ARCHITECTURE: Final = "sam2-splat-lite-1"
"""Name and version of the architecture. The weights' metadata contains it."""

TRUNK_WIDTHS: Final = (24, 40, 112, 192)  # channels at strides 4, 8, 16, 32
NECK_WIDTHS: Final = (32, 64)  # channels handed to the mask decoder at strides 4 and 8
SAM2_MEAN: Final = (0.485, 0.456, 0.406)  # RGB in 0..1, subtracted from every frame
SAM2_STD: Final = (0.229, 0.224, 0.225)  # the frame is divided by it afterwards
MODEL_WIDTH: Final = 128  # channels of the embedding, the decoder and the memory
STRIDE: Final = 16  # px of the input for one cell of the embedding


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them.

    They are not depthwise, because these layers are trained. On a CPU a depthwise backward pass
    costs far more than the arithmetic it saves.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = _norm_act(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        y = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return torch.relu(x + y)


@dataclass(frozen=True)
class Stage:
    """A run of inverted residuals: number, kernel, stride of the first, expansion, channels."""

    count: int
    kernel: int
    stride: int
    expand: int
    width: int


STEM_WIDTH: Final = 32
STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
)
"""EfficientNet-Lite0 without its last stage and head (Tan and Le 2019; Google's "lite" variant)."""

TRUNK_OUTPUTS: Final = (1, 2, 4, 5)
"""The stages whose results go to the neck."""


class SameConv(nn.Module):
    """A convolution with a bias and TensorFlow's SAME padding, which the trunk's weights expect.

    With stride 2 on an even size, this pads one pixel less before than after.
    """

    def __init__(self, incoming: int, width: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        before = (kernel - stride) // 2 if stride > 1 else kernel // 2
        after = kernel - stride - before if stride > 1 else kernel // 2
        self.border = (before, after, before, after)
        even = before == after
        self.conv = nn.Conv2d(
            incoming, width, kernel, stride, padding=before if even else 0, groups=groups
        )
        self.even = even

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width, H / stride, W / stride)."""
        if not self.even:
            x = nn.functional.pad(x, self.border)
        y: Tensor = self.conv(x)
        return y


class InvertedResidual(nn.Module):
    """Expand the channels, filter each one by itself, project. With a shortcut where shapes allow it."""

    def __init__(self, incoming: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = incoming * stage.expand
        self.expand = SameConv(incoming, inner, 1, 1, 1) if stage.expand > 1 else None
        self.filter = SameConv(inner, inner, stage.kernel, stride, inner)
        self.project = SameConv(inner, stage.width, 1, 1, 1)
        self.shortcut = stride == 1 and incoming == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width, H / stride, W / stride)."""
        y = x if self.expand is None else nn.functional.relu6(self.expand(x), inplace=True)
        y = self.project(nn.functional.relu6(self.filter(y), inplace=True))
        result: Tensor = x + y if self.shortcut else y
        return result


class LiteTrunk(nn.Module):
    """EfficientNet-Lite up to stride 32, with BatchNorm folded into the convolutions.

    Parameters
    ----------
    plan
        Its stages. By default those of Lite0.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, plan: Sequence[Stage] = STAGES) -> None:
        super().__init__()
        widths = [plan[number].width for number in TRUNK_OUTPUTS]
        self.channel_list = widths[::-1]  # coarse first, as sam2 lists them
        self.stem = SameConv(3, STEM_WIDTH, 3, 2, 1)
        stages: list[nn.Module] = []
        incoming = STEM_WIDTH
        for stage in plan:
            blocks: list[nn.Module] = []
            for number in range(stage.count):
                stride = stage.stride if number == 0 else 1
                blocks.append(InvertedResidual(incoming, stage, stride))
                incoming = stage.width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        # Frames have SAM 2's normalisation. These weights were trained on (value - 127) / 128.
        mean, std = torch.tensor(SAM2_MEAN), torch.tensor(SAM2_STD)
        scale, shift = std * 255 / 128, (mean * 255 - 127) / 128
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map frames (B, 3, S, S), normalised as for SAM 2, to four feature maps, fine first.

        Returns
        -------
        list of Tensor
            (B, 24, S/4, S/4), (B, 40, S/8, S/8), (B, 112, S/16, S/16), (B, 192, S/32, S/32). The
            widths are those of Lite0.
        """
        x = nn.functional.relu6(self.stem(x * self.scale + self.shift))  # (B, 32, S/2, S/2)
        features: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TRUNK_OUTPUTS:
                features.append(x)
        return features


class TopDownNeck(nn.Module):
    """Carry context from stride 32 up to strides 16, 8 and 4, with one 3x3 convolution at each.

    sam2's own neck gives the decoder plain lateral features at strides 4 and 8. With such a small
    trunk they know little of the object, and thin parts get lost. So here they get the context
    first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.d_model = MODEL_WIDTH
        self.backbone_channel_list = list(reversed(TRUNK_WIDTHS))
        fine, middle, coarse, context = TRUNK_WIDTHS
        self.lateral32 = nn.Conv2d(context, MODEL_WIDTH, 1)
        self.lateral16 = nn.Conv2d(coarse, MODEL_WIDTH, 1)
        self.smooth16 = self._smooth(MODEL_WIDTH)
        self.embed = nn.Conv2d(MODEL_WIDTH, MODEL_WIDTH, 1)
        self.down16 = nn.Conv2d(MODEL_WIDTH, NECK_WIDTHS[1], 1)
        self.lateral8 = nn.Conv2d(middle, NECK_WIDTHS[1], 1)
        self.smooth8 = self._smooth(NECK_WIDTHS[1])
        self.down8 = nn.Conv2d(NECK_WIDTHS[1], NECK_WIDTHS[0], 1)
        self.lateral4 = nn.Conv2d(fine, NECK_WIDTHS[0], 1)
        self.smooth4 = self._smooth(NECK_WIDTHS[0])
        self.position_encoding = PositionEmbeddingSine(num_pos_feats=MODEL_WIDTH, normalize=True)

    @staticmethod
    def _smooth(channels: int) -> nn.Sequential:
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        return nn.Sequential(conv, *_norm_act(channels), ResidualBlock(channels))

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map the trunk's four maps to three, with their position encodings.

        Parameters
        ----------
        xs : list of Tensor
            The four maps of `LiteTrunk.forward`.

        Returns
        -------
        tuple of (list of Tensor, list of Tensor)
            Features (B, 32, S/4, S/4), (B, 64, S/8, S/8), (B, 128, S/16, S/16), and encodings of
            128 channels at the same three sizes. sam2 reads the sizes of all encodings, but only
            the values of the last.
        """
        s4, s8, s16, s32 = xs
        x = self.lateral16(s16) + double(self.lateral32(s32))  # (B, 128, S/16, S/16)
        x = self.smooth16(x)
        embedding = self.embed(x)  # (B, 128, S/16, S/16)
        x = self.smooth8(self.lateral8(s8) + double(self.down16(x)))  # (B, 64, S/8, S/8)
        middle = x
        fine = self.smooth4(self.lateral4(s4) + double(self.down8(x)))  # (B, 32, S/4, S/4)
        features = [fine, middle, embedding]
        return features, [self.position_encoding(f) for f in features]


def double(x: Tensor) -> Tensor:
    """Return maps (B, C, H, W) at twice the size. Every value is repeated four times."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _memory_attention(side: int) -> MemoryAttention:
    def attention(*, cross: bool) -> RoPEAttention:
        return RoPEAttention(
            rope_theta=10000.0,
            rope_k_repeat=cross,
            feat_sizes=(side, side),
            embedding_dim=MODEL_WIDTH,
            num_heads=1,
            downsample_rate=1,
            dropout=0.0,
        )

    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=4 * MODEL_WIDTH,
        dropout=0.0,
        pos_enc_at_attn=False,
        self_attention=attention(cross=False),
        d_model=MODEL_WIDTH,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=attention(cross=True),
    )
    stack = MemoryAttention(
        d_model=MODEL_WIDTH, pos_enc_at_input=True, layer=layer, num_layers=2, batch_first=True
    )
    for block in stack.layers:
        # Queries and keys begin in the same space, so attention starts by similar appearance.
        cross = block.cross_attn_image
        cross.k_proj.load_state_dict(cross.q_proj.state_dict())
    return stack


def _memory_encoder() -> MemoryEncoder:
    encoder = MemoryEncoder(
        out_dim=MODEL_WIDTH,
        in_dim=MODEL_WIDTH,
        position_encoding=PositionEmbeddingSine(num_pos_feats=MODEL_WIDTH, normalize=True),
        mask_downsampler=MaskDownSampler(
            embed_dim=MODEL_WIDTH, kernel_size=4, stride=4, padding=0, total_stride=STRIDE
        ),
        fuser=Fuser(
            CXBlock(
                dim=MODEL_WIDTH,
                kernel_size=3,
                padding=1,
                layer_scale_init_value=0.1,
                use_dwconv=False,
            ),
            num_layers=1,
        ),
    )
    nn.init.eye_(encoder.pix_feat_proj.weight[:, :, 0, 0])  # memory starts as the image features
    return encoder


def memory_settings(image_size: int) -> dict[str, Any]:
    """Return the settings of `SAM2Base`, except the image encoder.

    Parameters
    ----------
    image_size : int
        Side of the square input in px, a multiple of 32.

    Raises
    ------
    ValueError
        It is not a multiple of 32.
    """
    if image_size <= 0 or image_size % 32:
        raise ValueError(f"image_size must be a positive multiple of 32, not {image_size}.")
    return {
        "memory_attention": _memory_attention(image_size // STRIDE),
        "memory_encoder": _memory_encoder(),
        "image_size": image_size,
        "backbone_stride": STRIDE,
        "num_maskmem": 5,  # the conditioning frames and the last four
        "sigmoid_scale_for_mem_enc": 20.0,
        "sigmoid_bias_for_mem_enc": -10.0,
        "use_mask_input_as_output_without_sam": True,
        "directly_add_no_mem_embed": True,
        "use_high_res_features_in_sam": True,
        "multimask_output_in_sam": False,
        "iou_prediction_use_sigmoid": True,
        "use_obj_ptrs_in_encoder": True,
        "max_obj_ptrs_in_encoder": 8,
        # Pointers carry no time. Training clips are short, and a distance that was never seen in
        # training would only be noise.
        "add_tpos_enc_to_obj_ptrs": False,
        "only_obj_ptrs_in_the_past_for_eval": True,
        "pred_obj_scores": True,
        "pred_obj_scores_mlp": True,
        "fixed_no_obj_ptr": True,
        "use_mlp_for_obj_ptr_proj": True,
        "no_obj_embed_spatial": True,
    }


def build_bundled_model(image_size: int = BUNDLED_IMAGE_SIZE) -> SAM2Base:
    """Build the bundled model with random weights, in eval mode, fp32, on the CPU.

    Parameters
    ----------
    image_size : int
        Side of the square input in px, a multiple of 32. The model is fully convolutional, so the
        same weights fit every size. The released ones are trained for `BUNDLED_IMAGE_SIZE`.

    Returns
    -------
    SAM2Base
        Load `BUNDLED_WEIGHTS` into it strictly, cast to fp32, before use.

    Raises
    ------
    ValueError
        ``image_size`` is not a positive multiple of 32.
    """
    model = SAM2Base(
        image_encoder=ImageEncoder(trunk=LiteTrunk(), neck=TopDownNeck()),
        **memory_settings(image_size),
    )
    # sam2 expects the same width at every level. Our neck has another width at each level.
    decoder = model.sam_mask_decoder
    decoder.conv_s0 = nn.Conv2d(NECK_WIDTHS[0], MODEL_WIDTH // 8, 1)
    decoder.conv_s1 = nn.Conv2d(NECK_WIDTHS[1], MODEL_WIDTH // 4, 1)
    model.eval()
    return model
