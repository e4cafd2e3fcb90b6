# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators: thin, each turns a typed error into one report; imports bpy."""
