"""The contract between stages: content-addressed folders of Parquet parts, sealed by a manifest."""

from spot_core.artifacts.artifact import Artifact
from spot_core.artifacts.recipe import Recipe
from spot_core.artifacts.store import ArtifactStore
from spot_core.artifacts.writer import ArtifactWriter

__all__ = ["Artifact", "ArtifactStore", "ArtifactWriter", "Recipe"]
