"""placeholder"""

from spot_core.config.flags import QUALITY_FLAGS

AVOID = dict.fromkeys(QUALITY_FLAGS, "avoid it")


def quality_flags(failure, rectified):
    return []
