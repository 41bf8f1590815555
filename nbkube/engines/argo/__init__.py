"""Runs on a cluster: a submission as an Argo Workflow, its pods, and how it is followed.

`workflow` makes the Workflow, `engine` sends it and `watch` follows it. `pod` is what starts in the containers; `unit`
runs a step there, `judge` tells whether early results hold. What steps have come to is kept in `standing`.
"""
