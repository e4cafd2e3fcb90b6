# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of mattes beside the photos, what its last run was, and who may write into it."""
