"""The demo's data are made byte by byte as before."""

import hashlib
from collections.abc import Callable

from spot_core.config.spot import SpotConfig
from spot_core.pipeline.resolve import Resolver
from tests.golden.golden import compare
from tests.spot_core.pipeline.miniature import configure, fake, run_stages

__all__ = ["configure", "fake"]


def test_questions_filter_and_rectify_have_the_same_bytes(configure: Callable[..., SpotConfig]) -> None:
    run = run_stages(
        configure(questions={"kind": "generator", "name": "demo-chains", "count": 150}), "golden"
    )
    resolver = Resolver(run)
    nodes = (*resolver.inputs(), resolver.rollout(), resolver.filter(), resolver.rectify())
    made = {node.name: node.artifact for node in nodes}
    compare(
        "artifacts",
        {
            name: {
                "rows": artifact.rows,
                "sha256": [hashlib.sha256(part.read_bytes()).hexdigest() for part in artifact.parts],
                "digest": artifact.digest,
            }
            for name, artifact in made.items()
            if artifact is not None
        },
    )
