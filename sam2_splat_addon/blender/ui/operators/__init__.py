# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators. Each is thin, and turns a typed error into one report."""
