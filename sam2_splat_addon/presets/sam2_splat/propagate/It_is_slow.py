import bpy

settings = bpy.context.edit_movieclip.sam2_splat

settings.nearby_prompts = 0
settings.speed = "balanced"
settings.memory = "exact"
settings.both_sides = False
settings.second_look = "off"
settings.obey_clicks = "automatic"
settings.carry_clicks = "off"
settings.precision = "automatic"
settings.edits_prompt = True
