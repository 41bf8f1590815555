"""The bench: one real Kubernetes node in a network namespace of its own, and the tests that need it.

`python -m tests.cluster build|up|down|status|load-image` carries it; the files, in the order things happen:
`layout` (names, addresses, folders), `preflight`, `parts` and `golang`, `python_layers` (what is built once), `images`
(what pods run), `network`, `pki`, `servers`, `node`, `control_plane`, `addons` (what is started), `lifecycle` (up and
down), `bench` (what tests see of it), `faults` (killing and restarting parts of it).
"""
