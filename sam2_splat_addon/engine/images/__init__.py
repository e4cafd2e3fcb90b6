# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos: decode them and prepare them for the model. Mattes to alpha, and PNG files."""
