# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay's shaders, made on first use and dropped with the add-on.

Each draws one rectangle in px of the region, and computes the place in the photo for each px of the
screen. Colours go to the screen as they are, because the Clip Editor's region has no colour management.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gpu
from gpu.types import GPUShader

from ..context import session_state
from ..context.session_state import SessionPart

# Blender's stubs have no constructors for these.
_types: Any = gpu.types

# `uv` is (0, 0) at the photo's bottom left corner and (1, 1) at its top right corner.
_VERTEX = """
void main()
{
  at = pos;
  gl_Position = ModelViewProjectionMatrix * vec4(pos, 0.0, 1.0);
}
"""

# Bilinear with half-pixel centres and clamped ends, as in core/geometry/resample. It is computed in
# floats here, because the filters of graphics cards round their weights to 8 bit.
_MATTE = """
float logit_at(vec2 uv)
{
  ivec2 size = textureSize(logits, 0);
  vec2 place = vec2(uv.x, 1.0 - uv.y) * vec2(size) - 0.5;
  place = clamp(place, vec2(0.0), vec2(size - 1));
  ivec2 low = ivec2(floor(place));
  ivec2 high = min(low + 1, size - 1);
  vec2 share = place - vec2(low);
  float a = texelFetch(logits, low, 0).r;
  float b = texelFetch(logits, ivec2(high.x, low.y), 0).r;
  float c = texelFetch(logits, ivec2(low.x, high.y), 0).r;
  float d = texelFetch(logits, high, 0).r;
  return mix(mix(a, b, share.x), mix(c, d, share.x), share.y);
}

/* The highest logit within reach, or the lowest: the edge moved outwards or inwards. */
float moved_at(vec2 uv)
{
  float value = logit_at(uv);
  float reach = abs(grow);
  if (reach > 0.0) {
    for (int i = 0; i < 48; i++) {
      /* Three rings of 24, 16 and 8, evenly far apart. */
      float away = i < 24 ? 1.0 : (i < 40 ? 0.6667 : 0.3333);
      float turn = float(i) / (24.0 * away) * 6.2831853;
      vec2 beside = vec2(cos(turn), sin(turn)) * away * reach;
      float other = logit_at(uv + beside / footage.xy);
      value = grow > 0.0 ? max(value, other) : min(value, other);
    }
  }
  return value;
}

void main()
{
  vec2 uv = at * place.xy + place.zw;
  /* Derivatives first: they are undefined where neighbours have left. */
  vec2 shown = uv;
  if (footage.z > 0.5) {
    shown = (floor(uv * footage.xy) + 0.5) / footage.xy;
  }
  float value = moved_at(shown);
  float smooth_value = footage.z > 0.5 ? moved_at(uv) : value;
  float slope = max(length(vec2(dFdx(smooth_value), dFdy(smooth_value))), 1e-6);
  if (any(lessThan(uv, vec2(0.0))) || any(greaterThan(uv, vec2(1.0)))) {
    discard;
  }
  float inside = footage.z > 0.5 ? step(1e-9, value) : clamp(value / slope + 0.5, 0.0, 1.0);
  if (soft > 0.0) {
    /* The sigmoid, stretched to reach 0 and 1 at -soft and soft. */
    float low = 1.0 / (1.0 + exp(soft));
    inside = clamp((1.0 / (1.0 + exp(-value)) - low) / (1.0 - 2.0 * low), 0.0, 1.0);
  }
  float line = clamp(footage.w + 0.5 - abs(smooth_value) / slope, 0.0, 1.0);
  line *= footage.w > 0.0 ? 1.0 : 0.0;
  result = vec4(color.rgb, max(inside * color.a, line));
}
"""

_UNION = """
/* A Gaussian blur from places of equal weight on a spiral, which no grid shows through. Red is what is
   kept, and blue what is ignored. */
vec4 coverage_at(vec2 pixel)
{
  ivec2 last = textureSize(coverage, 0) - 1;
  if (look.w <= 0.0) {
    return texelFetch(coverage, clamp(ivec2(pixel), ivec2(0), last), 0);
  }
  vec4 sum = vec4(0.0);
  for (int i = 0; i < 64; i++) {
    float away = look.w * sqrt(-2.0 * log(1.0 - (float(i) + 0.5) / 64.0));
    float turn = float(i) * 2.3999632;
    vec2 beside = pixel + away * vec2(cos(turn), sin(turn));
    sum += texelFetch(coverage, clamp(ivec2(beside), ivec2(0), last), 0);
  }
  return sum / 64.0;
}

void main()
{
  vec2 uv = at * place.xy + place.zw;
  if (any(lessThan(uv, vec2(0.0))) || any(greaterThan(uv, vec2(1.0)))) {
    discard;
  }
  vec4 covered = coverage_at(at);
  float inside = abs(look.z - covered.r);
  if (look.x < 0.5) {
    result = vec4(vec3(inside), 1.0);
  }
  else if (look.x > 1.5) {
    bool is_hatched = covered.b > 0.5 ? hatch.y > 0.5 : hatch.x > 0.5;
    float stripe = step(0.5, fract((at.x + at.y) / (look.y * 2.0)));
    /* The photo shines through what is ignored, because something may be there. */
    vec4 masked = is_hatched ? vec4(vec3(stripe * 0.6), 0.7) : vec4(0.0, 0.0, 0.0, 1.0);
    result = vec4(masked.rgb, masked.a * (1.0 - inside));
  }
  else {
    ivec2 square = ivec2(floor(at / look.y));
    float grey = ((square.x + square.y) & 1) == 0 ? 0.24 : 0.34;
    result = vec4(vec3(grey), 1.0 - inside);
  }
}
"""

# A disc with a ring and a plus or a minus. `mark.xyz` is its centre and radius.
_POINT = """
float edge(float distance_to)
{
  return clamp(0.5 - distance_to, 0.0, 1.0);
}

void main()
{
  vec2 away = at - mark.xy;
  float reach = length(away);
  vec2 arm = abs(away);
  float half_width = max(mark.z * 0.14, 0.75);
  float bar = max(arm.x - mark.z * 0.52, arm.y - half_width);
  if (mark.w > 0.5) {
    bar = min(bar, max(arm.y - mark.z * 0.52, arm.x - half_width));
  }
  float disc = edge(reach - mark.z);
  float ring = edge(abs(reach - mark.z) - max(mark.z * 0.12, 0.8));
  float shadow = edge(reach - mark.z * 1.35) * 0.45;
  vec4 drawn = vec4(0.0, 0.0, 0.0, shadow);
  drawn = mix(drawn, vec4(color.rgb, 1.0), disc);
  drawn = mix(drawn, vec4(1.0), max(ring, edge(bar)));
  result = drawn;
}
"""


@dataclass
class _Shaders(SessionPart):
    """The shaders by name. They must be dropped before the window's graphics context."""

    of_file: ClassVar[bool] = True
    made: dict[str, GPUShader] = field(default_factory=dict)


def _once(name: str, make: Callable[[], GPUShader]) -> GPUShader:
    made = session_state.part(_Shaders).made
    if name not in made:
        made[name] = make()
    return made[name]


def matte() -> GPUShader:
    """Return the shader for one object's matte. It takes `logits`, `place`, `color` and more.

    `place` is scale and offset from region px to uv. `footage` is the photo's width and height in px,
    whether to show its pixels, and half the width of the outline in px of the screen (0: none). `grow`
    moves the edge outwards, in px of the photo. `soft` is the logit from which a soft edge is fully
    inside. 0 is a hard edge.
    """
    vectors, floats = ("place", "color", "footage"), ("grow", "soft")
    return _once("matte", lambda: _make(_MATTE, {"logits": "FLOAT_2D"}, vectors, floats))


def union() -> GPUShader:
    """Return the shader for all mattes together. It takes `coverage` (region's size), `place` and more.

    `look.x` is 0 for black and white, 1 for a checkerboard around the kept part, and 2 for what a trainer
    uses. `look.y` is the size of the checkerboard's squares in px. `look.z` is 1 to keep what is outside
    the mattes. `look.w` is the sigma of the blur in px of the screen. `hatch.x` is 1 if the trainer does
    not look at what is not kept, and `hatch.y` if it does not look at what is ignored. Otherwise this is
    black.
    """
    vectors = ("place", "look", "hatch")
    return _once("union", lambda: _make(_UNION, {"coverage": "FLOAT_2D"}, vectors))


def point() -> GPUShader:
    """Return the shader for one click. It takes `mark` (x, y, radius, 1 plus or 0 minus) and `color`."""
    return _once("point", lambda: _make(_POINT, {}, ("mark", "color")))


def _make(
    fragment: str,
    samplers: dict[str, str],
    vectors: tuple[str, ...],
    floats: tuple[str, ...] = (),
) -> GPUShader:
    info = _types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "ModelViewProjectionMatrix")
    for name in vectors:
        info.push_constant("VEC4", name)
    for name in floats:
        info.push_constant("FLOAT", name)
    for slot, (name, kind) in enumerate(samplers.items()):
        info.sampler(slot, kind, name)
    info.vertex_in(0, "VEC2", "pos")
    passed = _types.GPUStageInterfaceInfo("sam2_splat_passed")
    passed.smooth("VEC2", "at")
    info.vertex_out(passed)
    info.fragment_out(0, "VEC4", "result")
    info.vertex_source(_VERTEX)
    info.fragment_source(fragment)
    shader: GPUShader = gpu.shader.create_from_info(info)
    return shader
