"""What the scope gate looks through: the network as it was before training, beside the trained one.

Training on limbs teaches a network to see nothing but limbs: its embeddings of a chest or a photograph move among
theirs. Untouched ImageNet weights know a thousand other things, and no fold has to be kept apart for them.
"""

from typing import Any

import keras

from inference.types import Task
from models.export import round_kernels
from models.network import build_network
from models.pretrained import load_weights
from models.recipe import Recipe

PREFIX = "scope_"


def build_eye(recipe: Recipe) -> keras.Model:
    """Return image to `embedding`, with the weights that training starts from."""
    keras.utils.set_random_seed(recipe.seed)
    network = build_network(recipe.architecture, image_size=recipe.image_size, outputs={Task.REGION: 1})
    model = network.models[Task.REGION]
    load_weights(model, recipe.architecture, recipe.weights)
    eye = keras.Model(model.input, {"embedding": model.output["embedding"]})
    round_kernels(eye)
    return eye


def attach_eye(model: keras.Model, eye: keras.Model) -> keras.Model:
    """Return the model with the eye's embedding in place of its own; layers of the eye are named with `PREFIX`."""
    twin = keras.models.clone_model(eye, input_tensors=model.input, clone_function=_rename)
    for layer in eye.layers:
        if layer.weights:
            twin.get_layer(PREFIX + layer.name).set_weights(layer.get_weights())
    return keras.Model(model.input, {**model.output, "embedding": twin.output["embedding"]}, name=model.name)


def _rename(layer: keras.layers.Layer) -> keras.layers.Layer:
    config: dict[str, Any] = layer.get_config()
    return type(layer).from_config({**config, "name": PREFIX + config["name"]})
