"""What holds for all tests: generated cases take as long as the machine needs."""

import hypothesis

hypothesis.settings.register_profile("machine", deadline=None)
hypothesis.settings.load_profile("machine")
