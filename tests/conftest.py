"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("spot", deadline=None)  # how fast a machine is says nothing about the code
settings.load_profile("spot")
