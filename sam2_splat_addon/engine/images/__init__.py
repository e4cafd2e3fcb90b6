# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos decoded and prepared for the model; mattes to alpha; PNGs."""
