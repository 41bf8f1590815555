"""Keras models travel with optimizer, random state and history, and with the names that are part of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.state.units import Units

PREPARE = """
import numpy as np, keras, tensorflow as tf
keras.utils.set_random_seed(1)
X = np.random.normal(size=(64, 4)).astype("float32")
y = X.sum(1)

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2

def loss(a, b):
    return tf.reduce_mean((a - b) ** 2)

def make():
    layers = keras.layers
    model = keras.Sequential([keras.Input((4,)), layers.Dense(300), Twice(), layers.Dropout(0.3),
                              layers.Lambda(lambda t: t * scale), layers.Dense(1)])
    return model

scale = 2.0
opt = keras.optimizers.Adam(0.01)
model = make()
model.compile(opt, loss, metrics=["mae"])
history = model.fit(X, y, epochs=2, verbose=0)
first = model.layers[0]
base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
head = keras.Sequential([base, keras.layers.Dense(1)])
G = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
G.compile("adam", "mse")
gan = keras.Sequential([G, keras.layers.Dense(1)])
data = tf.data.Dataset.range(3)
tensor, variable, fresh = tf.constant([1, 2]), tf.Variable([1.0]), keras.optimizers.SGD(0.5)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_goes_on_exactly(tmp_path: Path) -> None:
    units = Units(tmp_path, replay="import numpy as np, keras, tensorflow as tf")
    more = "more = model.fit(X, y, epochs=1, verbose=0)\nprint(more.history['loss'])"
    together = units.run(PREPARE, more, "print([float(v.numpy().sum()) for v in model.variables])", seeded=True).stdout
    units = Units(tmp_path, replay="import numpy as np, keras, tensorflow as tf")
    first = units.run(PREPARE, seeded=True)
    assert {name for name, ref in first.outputs.items() if ref.kind == "hole"} == {"G", "data"}
    assert "as part of another model" in first.outputs["G"].reason
    looked = units.run(
        """
        assert history.model is model and model.history is history and model.optimizer is opt
        assert first is model.layers[0] and head.layers[0] is base and type(model.layers[1]) is Twice
        assert tensor.numpy().tolist() == [1, 2] and variable.numpy() == [1.0] and fresh.learning_rate == 0.5
        """,
        seeded=True,
    )
    assert looked.touched == ()
    second = units.run(more, seeded=True)
    assert {"model", "opt", "history", "first", "more"} <= set(second.outputs)
    last = units.run("print([float(v.numpy().sum()) for v in model.variables])\nassert int(opt.iterations) == 6")
    assert second.stdout + last.stdout == together
