"""Documents that several processes change keep every change, in whichever order versions are listed."""

import uuid

from spot_core.store.s3 import documents
from spot_core.store.s3.objects import Objects


def test_the_latest_version_is_the_one_of_the_highest_number_however_long():
    objects = Objects(f"memory://{uuid.uuid4().hex}")
    objects.write("runs/x/run/999999.json", b"0")
    for _ in range(2):
        documents.update(objects, "runs/x/run.json", lambda text: str(int(text) + 1))
    assert documents.read(objects, "runs/x/run.json") == (1_000_001, "2")
