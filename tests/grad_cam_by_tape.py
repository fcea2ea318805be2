"""Grad-CAM as its paper defines it, by TensorFlow's gradient tape, beside the map that an exported graph answers."""

import numpy as np
import onnxruntime

_HEADS = ("merge", "head_dropout", "hidden_cells")
"""Layers by which a head begins: the finer one, the mean of cells, the dense one."""


def find_features(model):
    """Find the map that the model's head weighs."""
    names = {layer.name for layer in model.layers}
    begin = model.get_layer(next(name for name in _HEADS if name in names))
    return model.get_layer("merged").output if begin.name == "merge" else begin.input


def measure_difference(model, images):
    """Return how far the exported graph's map is from Grad-CAM, largest element of any output, and the map's maximum.

    The exported graph answers its features too. Grad-CAM is that of its logits with respect to these (Selvaraju et
    al., ICCV 2017, eq. 1 and 2): the gradient's mean over the cells weighs the channels, and what is negative is cut.
    """
    import keras
    import tensorflow as tf

    from models.export import export_onnx

    place = find_features(model)
    exported = export_onnx(keras.Model(model.input, {**model.output, "features": place}))
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    features, cam, logits = session.run(["features", "cam", "logits"], {"image": images})
    head = keras.Model(place, {"logits": model.output["logits"]})
    differences, highest = [], []
    for output in range(logits.shape[-1]):
        with tf.GradientTape() as tape:
            seen = tf.convert_to_tensor(features)
            tape.watch(seen)
            logit = head(seen, training=False)["logits"][:, output]
        weights = tf.reduce_mean(tape.gradient(logit, seen), axis=(1, 2), keepdims=True)
        expected = np.asarray(tf.nn.relu(tf.reduce_sum(weights * seen, axis=-1)))
        assert np.abs(np.asarray(logit) - logits[:, output]).max() <= 1e-4 * max(1.0, np.abs(logits).max())
        differences.append(np.abs(cam[..., output] - expected).max())
        highest.append(expected.max())
    return max(differences), max(highest)
