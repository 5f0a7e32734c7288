"""Manifests for Kubernetes: a job as a RayJob of KubeRay, its schedule, and the operator's rules applied offline."""
