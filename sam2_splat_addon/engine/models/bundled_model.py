# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model: a small SAM 2 that comes with the extension and takes clicks as maps.

Memory (encoder, attention, pointers) is sam2's own code. Three parts are ours. The trunk is
EfficientNet-Lite2 instead of Hiera, which costs much less. The neck gives its maps to the head. A
dense head replaces SAM's prompt encoder and mask decoder. It takes maps beside the image features,
as RITM does (Sofiiuk et al. 2021): clicks as discs, the box, and the earlier mask. So a click acts
where it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import MLP
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import checkpoint_catalogue

BUNDLED_WEIGHTS: Final = checkpoint_catalogue.BUNDLED_WEIGHTS
"""The weights that come with the extension: safetensors, fp16. Loading casts them to fp32."""

BUNDLED_IMAGE_SIZE: Final = 512
"""Side of the square to which a frame is resized, px. The side of a matte is a quarter of it."""

ARCHITECTURE: Final = "sam2-splat-lite-2"
"""Name and version of the architecture. The weights' metadata contains it."""

SAM2_MEAN: Final = (0.485, 0.456, 0.406)  # RGB in 0..1, subtracted from every frame
SAM2_STD: Final = (0.229, 0.224, 0.225)  # the frame is divided by it afterwards
MODEL_WIDTH: Final = 128  # channels of the embedding and the memory
STRIDE: Final = 16  # px of the input for one cell of the embedding
TRUNK_WIDTHS: Final = (24, 48, 120, 208)  # channels at strides 4, 8, 16, 32
HEAD_WIDTHS: Final = (48, 64, 128, 160)  # channels of the head at the same strides
FINE_STRIDE: Final = 4  # px of the input for one cell of the logits

CLICK_RADIUS: Final = 4.5  # cells of the logits from a click to the end of its disc
CLICK_CORE: Final = 1.5  # cells from a click to where its disc begins to fade
_GROUPS: Final = 8  # of the normalisations
# A subject counts as there only if its score is above this. An empty mask, which the review lists, is
# better than a mask of what hides the subject. Training has no such margin.
_PRESENCE_MARGIN: Final = 1.0
_MAPS: Final = 6  # include, exclude, box, is there a box, earlier mask, is there one

# The labels that sam2's prompts have.
_EXCLUDE, _INCLUDE, _BOX_START, _BOX_END = 0, 1, 2, 3


@dataclass(frozen=True)
class Stage:
    """A run of inverted residuals: number, kernel, stride of the first, expansion, channels."""

    count: int
    kernel: int
    stride: int
    expand: int
    width: int


STEM_WIDTH: Final = 32
TRUNK_STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
)
"""EfficientNet-Lite2 without its last stage and head (Tan and Le 2019; Google's "lite" variant)."""

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
    """EfficientNet-Lite2 up to stride 32, with BatchNorm folded into the convolutions."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.channel_list = list(TRUNK_WIDTHS[::-1])  # coarse first, as sam2 lists them
        self.stem = SameConv(3, STEM_WIDTH, 3, 2, 1)
        stages: list[nn.Module] = []
        incoming = STEM_WIDTH
        for stage in TRUNK_STAGES:
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
            (B, 24, S/4, S/4), (B, 48, S/8, S/8), (B, 120, S/16, S/16), (B, 208, S/32, S/32).
        """
        x = nn.functional.relu6(self.stem(x * self.scale + self.shift))  # (B, 32, S/2, S/2)
        features: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in TRUNK_OUTPUTS:
                features.append(x)
        return features


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels)


def _block(incoming: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(incoming, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, _norm(width), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them.

    They are not depthwise, because these layers are trained. On a CPU a depthwise backward pass
    costs far more than the arithmetic it saves.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _block(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = _norm(channels)
        nn.init.constant_(self.norm.weight, 0.2)  # starts near the identity

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        y: Tensor = self.norm(self.conv(self.first(x)))
        return torch.relu(x + y)


class Neck(nn.Module):
    """Give the trunk's maps to the head, and make the embedding that memory works on.

    This is done once for a photo, whatever the number of objects and clicks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.d_model = MODEL_WIDTH
        self.backbone_channel_list = list(reversed(TRUNK_WIDTHS))
        fine, middle, coarse, context = TRUNK_WIDTHS
        self.lateral4 = nn.Conv2d(fine, HEAD_WIDTHS[0], 1)
        self.lateral8 = nn.Conv2d(middle, HEAD_WIDTHS[1], 1)
        self.lateral32 = nn.Conv2d(context, HEAD_WIDTHS[3], 1)
        self.lateral16 = nn.Conv2d(coarse, MODEL_WIDTH, 1)
        self.down16 = nn.Conv2d(HEAD_WIDTHS[3], MODEL_WIDTH, 1)
        self.smooth16 = nn.Sequential(_block(MODEL_WIDTH, MODEL_WIDTH), ResidualBlock(MODEL_WIDTH))
        self.embed = nn.Conv2d(MODEL_WIDTH, MODEL_WIDTH, 1)
        self.position_encoding = PositionEmbeddingSine(num_pos_feats=MODEL_WIDTH, normalize=True)

    def forward(self, xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map the trunk's four maps to the head's, with their position encodings.

        Parameters
        ----------
        xs : list of Tensor
            The four maps of `LiteTrunk.forward`.

        Returns
        -------
        tuple of (list of Tensor, list of Tensor)
            Features (B, 48, S/4, S/4), (B, 64, S/8, S/8), (B, 160, S/32, S/32), and last, as sam2
            needs it, the embedding (B, 128, S/16, S/16). Encodings of 128 channels at the same
            sizes. sam2 reads the sizes of all encodings, but only the values of the last.
        """
        s4, s8, s16, s32 = xs
        context = self.lateral32(s32)  # (B, 160, S/32, S/32)
        x = self.smooth16(self.lateral16(s16) + double(self.down16(context)))
        features = [self.lateral4(s4), self.lateral8(s8), context, self.embed(x)]
        return features, [self.position_encoding(f) for f in features]


def double(x: Tensor) -> Tensor:
    """Return maps (B, C, H, W) at twice the size. Every value is repeated four times."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class AttentionBlock(nn.Module):
    """Every cell attends to every other. So a click here also acts on similar places far away."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)
        self.position_encoding = PositionEmbeddingSine(num_pos_feats=channels, normalize=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        batch, channels, high, wide = x.shape
        position = self.position_encoding(x[:1]).flatten(2).transpose(1, 2)  # (1, HW, C)
        tokens = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        y = self.norm1(tokens) + 0.5 * position.to(tokens.dtype)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.project_in(y).chunk(3, dim=2)
        )  # each (B, heads, HW, C / heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project_out(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.narrow(F.gelu(self.wide(self.norm2(tokens))))
        mapped: Tensor = tokens.transpose(1, 2).reshape(batch, channels, high, wide)
        return mapped


class PromptSizes:
    """The one value that sam2's callers read from its prompt encoder."""

    def __init__(self, side: int) -> None:
        self.mask_input_size = (side, side)


def prompt_maps(points: dict[str, Tensor] | None, before: Tensor | None, like: Tensor) -> Tensor:
    """Draw prompts as maps.

    Parameters
    ----------
    points : dict of Tensor, optional
        "point_coords" (B, P, 2), pixel indices of the model's input. "point_labels" (B, P): 1
        include, 0 exclude, 2 and 3 a box's corners, -1 nothing.
    before : Tensor, optional
        (B, 1, S/4, S/4), earlier logits.
    like : Tensor
        (B, C, S/4, S/4). The maps get its size, device and number format.

    Returns
    -------
    Tensor
        (B, 6, S/4, S/4), 0 to 1: include, exclude, the box's inside, whether there is a box, the
        earlier mask, whether there is one.
    """
    batch, _, high, wide = like.shape
    # Coordinates need more digits than bfloat16 has.
    maps = like.new_zeros(batch, _MAPS, high, wide, dtype=torch.float32)
    maps = maps.to(memory_format=torch.channels_last)
    if points is not None:
        # From pixel indices of the input to cell indices of the grid.
        cells = (points["point_coords"].to(maps) + 0.5) / FINE_STRIDE - 0.5  # (B, P, 2)
        labels = points["point_labels"]  # (B, P)
        across = torch.arange(wide, device=like.device, dtype=torch.float32)
        down = torch.arange(high, device=like.device, dtype=torch.float32)
        dx = across - cells[..., 0, None]  # (B, P, W)
        dy = down - cells[..., 1, None]  # (B, P, H)
        distance = (dx[:, :, None] ** 2 + dy[..., None] ** 2).sqrt()  # (B, P, H, W)
        discs = ((CLICK_RADIUS - distance) / (CLICK_RADIUS - CLICK_CORE)).clamp(0, 1)
        for place, label in ((0, _INCLUDE), (1, _EXCLUDE)):
            own = (labels == label).float()[..., None, None]
            maps[:, place] = (discs * own).amax(1)
        starts, ends = labels == _BOX_START, labels == _BOX_END
        has = (starts.any(1) & ends.any(1)).float()  # (B)
        corner = [(cells * kind[..., None].float()).sum(1) for kind in (starts, ends)]
        inside_x = (across >= corner[0][:, :1] - 0.5) & (across <= corner[1][:, :1] + 0.5)
        inside_y = (down >= corner[0][:, 1:] - 0.5) & (down <= corner[1][:, 1:] + 0.5)
        inside = (inside_y[..., None] & inside_x[:, None]).float()  # (B, H, W)
        maps[:, 2] = inside * has[:, None, None]
        maps[:, 3] = has[:, None, None]
    if before is not None:
        maps[:, 4] = before[:, 0].to(maps).sigmoid()
        maps[:, 5] = 1.0
    return maps.to(like.dtype)


class DenseHead(nn.Module):
    """Turn image features and prompt maps into a mask: a U-shaped network over strides 4 to 32."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse, context = HEAD_WIDTHS
        inner = 32
        self.maps = nn.Sequential(_block(_MAPS, inner), _block(inner, inner))
        self.told = nn.ModuleList([nn.Conv2d(inner, w, 3, padding=1) for w in HEAD_WIDTHS])
        self.deeper = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in pairwise(HEAD_WIDTHS)])
        self.down = nn.ModuleList(
            [
                nn.Sequential(ResidualBlock(fine)),
                nn.Sequential(ResidualBlock(middle), ResidualBlock(middle)),
                nn.Sequential(ResidualBlock(coarse), ResidualBlock(coarse)),
                nn.Sequential(
                    AttentionBlock(context), ResidualBlock(context), AttentionBlock(context)
                ),
            ]
        )
        self.higher = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in pairwise(HEAD_WIDTHS)])
        self.up = nn.ModuleList(
            [
                nn.Sequential(ResidualBlock(fine), ResidualBlock(fine)),
                nn.Sequential(ResidualBlock(middle), ResidualBlock(middle)),
                nn.Sequential(AttentionBlock(coarse), ResidualBlock(coarse)),
            ]
        )
        self.mask = nn.Conv2d(fine, 1, 1)
        self.token = nn.Linear(3 * coarse, MODEL_WIDTH)
        self.iou_prediction_head = MLP(MODEL_WIDTH, MODEL_WIDTH, 1, 2, sigmoid_output=True)
        self.pred_obj_score_head = MLP(MODEL_WIDTH, MODEL_WIDTH, 1, 2)
        self._untold: dict[tuple[object, ...], list[Tensor]] = {}
        self.register_load_state_dict_post_hook(lambda head, _: head._untold.clear())

    def train(self, mode: bool = True) -> DenseHead:
        """As `torch.nn.Module.train`."""
        self._untold.clear()
        return super().train(mode)

    def tell(self, maps: Tensor) -> list[Tensor]:
        """Return what is added to the features at strides 4, 8, 16 and 32.

        Parameters
        ----------
        maps : Tensor
            (B, 6, S/4, S/4), as `prompt_maps` draws them.
        """
        x = self.maps(maps)  # (B, 32, S/4, S/4)
        told: list[Tensor] = []
        for conv in self.told:
            told.append(conv(x))
            x = F.max_pool2d(x, 2)
        return told

    def tell_nothing(self, like: Tensor) -> list[Tensor]:
        """As `tell` for a frame without prompts. This is the same on each of them, so it is kept.

        Parameters
        ----------
        like : Tensor
            As in `prompt_maps`.
        """
        nothing = prompt_maps(None, None, like[:1])
        if self.training or torch.is_grad_enabled():
            return self.tell(nothing)
        rounded = torch.is_autocast_enabled(like.device.type)
        kind = (nothing.shape, like.dtype, like.device, rounded, torch.get_num_threads())
        if kind not in self._untold:
            self._untold = {kind: self.tell(nothing)}
        return self._untold[kind]

    def forward(
        self, embedding: Tensor, finer: list[Tensor], told: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Segment.

        Parameters
        ----------
        embedding : Tensor
            (B, 128, S/16, S/16), with what memory adds.
        finer : list of Tensor
            (B, 48, S/4, S/4), (B, 64, S/8, S/8), (B, 160, S/32, S/32).
        told : list of Tensor
            What `tell` makes of the prompts.

        Returns
        -------
        tuple of Tensor
            Logits (B, 1, S/4, S/4), predicted IoU (B, 1), a description of the object (B, 128), and
            the object score (B, 1).
        """
        levels = [finer[0], finer[1], embedding, finer[2]]
        down: list[Tensor] = []
        for level, features in enumerate(levels):
            x = features + told[level]
            if level:
                x = x + self.deeper[level - 1](F.avg_pool2d(down[-1], 2))
            down.append(self.down[level](x))
        x = down[-1]
        coarse = x
        for level in (2, 1, 0):
            larger = F.interpolate(
                self.higher[level](x), scale_factor=2.0, mode="bilinear", align_corners=False
            )
            x = self.up[level](down[level] + larger)
            if level == 2:
                coarse = x  # (B, 128, S/16, S/16)
        logits = self.mask(x).float()  # (B, 1, S/4, S/4)
        inside = F.avg_pool2d(logits.sigmoid(), STRIDE // FINE_STRIDE).to(coarse.dtype)
        pooled = (coarse * inside).sum((2, 3)) / (inside.sum((2, 3)) + 1)
        described = torch.cat([pooled, coarse.mean((2, 3)), coarse.amax((2, 3))], dim=1)
        token = self.token(described)  # (B, 128)
        ious, score = self.iou_prediction_head(token), self.pred_obj_score_head(token)
        if not self.training:
            score = score - _PRESENCE_MARGIN
        return logits, ious.float(), token, score.float()


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


class ExactMaskDownSampler(MaskDownSampler):
    """sam2's own, always in float32.

    Its first LayerNorm sees the same value everywhere in a mask. In bfloat16 the rounding of that
    value, divided by its tiny spread, would drown what the mask says.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map masks (B, 1, S, S) to (B, 128, S/16, S/16), float32."""
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = super().forward(x.float())
        return y


def _memory_encoder() -> MemoryEncoder:
    encoder = MemoryEncoder(
        out_dim=MODEL_WIDTH,
        in_dim=MODEL_WIDTH,
        position_encoding=PositionEmbeddingSine(num_pos_feats=MODEL_WIDTH, normalize=True),
        mask_downsampler=ExactMaskDownSampler(
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


def _memory_settings(image_size: int) -> dict[str, Any]:
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


class LiteSAM2(SAM2Base):
    """SAM 2 with `DenseHead` in place of SAM's prompt encoder and mask decoder."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.num_feature_levels = 4
        # A mask prompt comes here only for its object pointer. It becomes logits, like an earlier mask.
        nn.init.constant_(self.mask_downsample.weight, 20.0 / 16)
        nn.init.constant_(self.mask_downsample.bias, -10.0)
        self.mask_downsample.requires_grad_(False)

    def _build_sam_heads(self) -> None:
        self.sam_prompt_embed_dim = self.hidden_dim
        self.sam_image_embedding_size = self.image_size // self.backbone_stride
        self.sam_prompt_encoder = PromptSizes(self.image_size // FINE_STRIDE)
        self.sam_mask_decoder = DenseHead()
        self.obj_ptr_proj = MLP(self.hidden_dim, self.hidden_dim, self.hidden_dim, 2)
        self.obj_ptr_tpos_proj = nn.Identity()

    def forward_image(self, img_batch: Tensor) -> dict[str, Any]:
        """As `SAM2Base.forward_image`. The neck gives what the head takes."""
        features: dict[str, Any] = self.image_encoder(img_batch)
        return features

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: Tensor | None = None,
        high_res_features: list[Tensor] | None = None,
        multimask_output: bool = False,
    ) -> tuple[Tensor, ...]:
        """As `SAM2Base._forward_sam_heads`. A mask is earlier logits, and there is one answer."""
        assert high_res_features is not None and not multimask_output
        head, fine = self.sam_mask_decoder, high_res_features[0]
        if point_inputs is None and mask_inputs is None:
            told = head.tell_nothing(fine)
        else:
            told = head.tell(prompt_maps(point_inputs, mask_inputs, fine))
        logits, ious, token, score = head(backbone_features, high_res_features, told)
        there = score > 0  # (B, 1)
        if point_inputs is not None:  # an object that the user clicks is there
            there = there | (point_inputs["point_labels"] > 0).any(1, keepdim=True)
        logits = torch.where(there[:, :, None, None], logits, NO_OBJ_SCORE)
        side = (self.image_size, self.image_size)
        at_input = F.interpolate(logits, size=side, mode="bilinear", align_corners=False)
        seen = there.to(token.dtype)
        pointer = seen * self.obj_ptr_proj(token) + (1 - seen) * self.no_obj_ptr
        return logits, at_input, ious, logits, at_input, pointer, score


def build_bundled_model(image_size: int = BUNDLED_IMAGE_SIZE) -> LiteSAM2:
    """Build the bundled model with random weights, in eval mode, fp32, on the CPU.

    Parameters
    ----------
    image_size : int
        Side of the square input in px, a multiple of 32. The model is fully convolutional, so the
        same weights fit every size. The released ones are for `BUNDLED_IMAGE_SIZE`.

    Returns
    -------
    LiteSAM2
        Load `BUNDLED_WEIGHTS` into it strictly, cast to fp32, before use.

    Raises
    ------
    ValueError
        ``image_size`` is not a positive multiple of 32.
    """
    encoder = ImageEncoder(trunk=LiteTrunk(), neck=Neck())
    model = LiteSAM2(image_encoder=encoder, **_memory_settings(image_size))
    model.eval()
    return model
