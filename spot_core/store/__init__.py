"""The contract between stages: content-addressed folders of Parquet parts, sealed by a manifest."""

from spot_core.store.artifact import Artifact
from spot_core.store.artifact_store import ArtifactStore
from spot_core.store.manifest import Recipe
from spot_core.store.writer import ArtifactWriter

__all__ = ["Artifact", "ArtifactStore", "ArtifactWriter", "Recipe"]
