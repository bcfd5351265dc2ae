"""The schema of Ray Serve, where it is installed."""

from __future__ import annotations

import warnings

import pytest
import yaml


def schema_takes(exported):
    """Whether the schema of Ray Serve keeps every key of a configuration."""
    schema = pytest.importorskip("ray.serve.schema", reason="needs ray[serve], 400 MB")
    given = yaml.safe_load(exported.files["serve_config.yaml"])
    with warnings.catch_warnings():
        # Ray 2.60 still goes by metrics_interval_s, and says that a later one will not.
        warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
        taken = schema.ServeDeploySchema.model_validate(given).model_dump(exclude_unset=True)
    ours = given["applications"][0]["deployments"]
    theirs = taken["applications"][0]["deployments"]
    inner = ("autoscaling_config", "ray_actor_options")
    return all(
        one.keys() == other.keys()
        and all(set(one.get(key) or ()) <= set(other.get(key) or ()) for key in inner)
        for one, other in zip(ours, theirs, strict=True)
    )
