# SPDX-License-Identifier: GPL-3.0-or-later
"""Store mattes beside the photos, with the facts of their last run and a lock for writing."""
