import bpy

settings = bpy.context.edit_movieclip.sam2_splat

settings.alpha = "binary"
settings.refine_edges = False
settings.grow_px = 0.0
settings.feather_px = 0.0
settings.fill_holes_px = 0
settings.drop_specks_px = 0
settings.invert = False
settings.black_rgb = False
settings.sidecar_masks = "none"
settings.upright = False
settings.clip_to_hull = False
settings.hull_margin_px = 8.0
settings.targets = {"postshot"}
