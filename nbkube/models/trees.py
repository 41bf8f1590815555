"""Trees of scikit-learn that come out of a file: looked at before they are asked, for asking them checks nothing.

skops builds a tree from the arrays of its file, and scikit-learn then follows the numbers of nodes and features in them
without looking, so that a file made up by hand could lead it anywhere in memory (the reason why skops trusts no tree).
What is checked here leaves nowhere to go: children come after their parent and lie within the tree, features are among
those the estimator takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbkube.models.formats import ModelError

TREES = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
PLAIN = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)
"""Classes of scikit-learn written in Python that hold nothing but attributes."""
TRUSTED = (*TREES, *PLAIN)


def check_trees(model: Any) -> None:
    """Look at all trees of an estimator.

    Raises:
        ModelError: one leads out of itself, or out of the features.
    """
    for owner, tree in _trees(model):
        features = getattr(owner, "n_features_in_", None)
        if type(tree).__name__ == "Tree":
            sound = tree.n_features == features and _is_sound(
                tree.children_left, tree.children_right, tree.feature, tree.children_left == -1, tree.n_features
            )
        else:
            nodes = tree.nodes
            leaves, categories = nodes["is_leaf"] != 0, nodes["is_categorical"] != 0
            bitsets = min(len(tree.raw_left_cat_bitsets), len(tree.binned_left_cat_bitsets))
            sound = (
                isinstance(features, int)
                and _is_sound(nodes["left"], nodes["right"], nodes["feature_idx"], leaves, features)
                and bool((nodes["bitset_idx"][categories & ~leaves] < bitsets).all())
            )
        if not sound:
            raise ModelError(
                f"a tree of this {type(model).__name__} leads out of itself. It is refused: it was damaged."
            )


def _is_sound(left: Any, right: Any, feature: Any, leaves: Any, features: int) -> bool:
    count = len(left)
    inner = ~np.asarray(leaves)
    own = np.arange(count)[inner]
    return bool(
        count
        and all((own < side[inner]).all() and (side[inner] < count).all() for side in (left, right))
        and ((feature[inner] >= 0) & (feature[inner] < features)).all()
    )


def _trees(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each tree below a model with the estimator that asks it."""
    seen: set[int] = set()
    waiting: list[tuple[Any, Any]] = [(model, model)]
    while waiting:
        owner, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if name in TREES:
            yield owner, value
        elif isinstance(value, dict):
            waiting += [(owner, one) for one in value.values()]
        elif isinstance(value, list | tuple | set) or (isinstance(value, np.ndarray) and value.dtype.kind == "O"):
            waiting += [(owner, one) for one in (value.flat if isinstance(value, np.ndarray) else value)]
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            owner = value if hasattr(value, "n_features_in_") else owner
            waiting += [(owner, one) for one in vars(value).values()]
