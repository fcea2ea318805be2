"""Cross-validation by the rule: every figure comes from predictions on radiographs the fold's model never saw."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Letterbox, Preprocessing
from inference.types import Float32Array, Radiograph, Task
from models.architectures.head import tie_cam
from models.datasets import Sample, inseparable_units, read_unit_pixels
from models.export import round_kernels
from models.exported import Answer, open_export
from models.features import FeatureCache, Features, digest, draw_of_shifted, name_draws
from models.network import Network, build_network
from models.pretrained import load_weights
from models.recipe import RANDOM, Progress, Recipe
from models.refit import refit_head
from models.second_looks import SecondLook, Seen
from models.training import Lesson, fit
from models.variations import Places, draw_shifted, list_places, render_plain

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
History = list[dict[str, Any]]

# EfficientNet-Lite reads (x - 127) / 128 of 8-bit pixels.
IMAGENET_SCALE, IMAGENET_OFFSET = 255 / 128, -127 / 128
PLAIN, MIRRORED, SHIFTED = range(3)
"""Places of the looks in `models.features.LOOKS`."""
BATCH = 32
FEW = 3
"""Of the radiographs a model was trained on, every third is enough to settle its head."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the models of all folds say about the radiographs they did not see; the first axis is the sample."""

    logits: Float32Array
    """Shape (samples, looks, outputs); looks as in `models.features.LOOKS`."""
    cams: Float32Array
    """Shape (samples, 2, h, w, outputs): of the last look at the radiograph, and at its mirror image, mirrored back."""
    first_cams: Float32Array
    """Of the first look, which sees all of it; that shape."""
    parts: IntArray
    """Shape (samples, outputs, 4): what of the radiograph each output's maps cover after a closer look, (top, bottom,
    left, right) in pixels of the file; all 0 where they cover what serving draws at first."""

    @property
    def both(self) -> Float32Array:
        """Mean logits (samples, outputs) of radiograph and mirror image, as serving answers."""
        return np.asarray(self.logits[:, [PLAIN, MIRRORED]].mean(axis=1), np.float32)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold: what its model says about every look of the radiographs it did not see."""

    number: int
    held_out: IntArray
    """Samples the model did not see."""
    answers: Mapping[Task, Answers]
    """Of the held-out samples, in that order."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A cross-validation and the model trained on everything."""

    recipe: Recipe
    preprocessing: Preprocessing
    fold: IntArray
    """Fold of each sample."""
    cluster: IntArray
    """Samples of one number may show one patient."""
    folds: tuple[Fold, ...]
    final: Network
    seen: Mapping[Task, Answers]
    """What the final model says about the samples, all of which it has seen."""
    history: History
    """Losses of each fold and epoch."""

    def unseen(self, task: Task) -> Answers:
        """Return what each sample's own fold says about it."""
        gathered: dict[str, Any] = {}
        for fold in self.folds:
            for name, values in vars(fold.answers[task]).items():
                whole = gathered.setdefault(name, np.zeros((len(self.fold), *values.shape[1:]), values.dtype))
                whole[fold.held_out] = values
        return Answers(**gathered)


class Experiment:
    """Samples, what is to be learned of them, and a recipe; what is computed is kept in `store`, and read again."""

    def __init__(
        self,
        samples: Sequence[Sample],
        lessons: Sequence[Lesson],
        recipe: Recipe,
        *,
        progress: Progress,
        store: Path,
    ) -> None:
        self.samples, self.lessons, self.recipe = samples, tuple(lessons), recipe
        self.preprocessing = Preprocessing(image_size=recipe.image_size, scale=IMAGENET_SCALE, offset=IMAGENET_OFFSET)
        self._history: History = []
        self._progress, self._kept = progress, store
        self._store = store / name_training(samples, lessons, recipe)
        self._store.mkdir(parents=True, exist_ok=True)
        self._first: Experiment | None = None
        if recipe.first:
            self._first = Experiment(samples, lessons, recipe.first, progress=progress, store=store)

    @cached_property
    def _features(self) -> Features:
        network = self.build()
        outlined = network.models.get(Task.FRACTURE) or next(iter(network.models.values()))
        cells = outlined.output["cam"].shape[1]
        frozen, _ = network.split(self.recipe.frozen_until)
        return FeatureCache(self._kept, frozen, self.preprocessing, cells=cells).load(
            self.samples, self.recipe, self._progress
        )

    def run(self, folds: IntArray) -> Trained:
        """Cross-validate, then train on everything that has a target."""
        validated = tuple(self.cross_validate(folds))
        everything = np.ones(len(folds), bool)
        final = self.train(everything)
        self._settle(final, everything)
        return Trained(
            recipe=self.recipe,
            preprocessing=self.preprocessing,
            fold=folds,
            cluster=inseparable_units(self.samples),
            folds=validated,
            final=final,
            seen=self._answer_as_served(final),
            history=self._history,
        )

    def cross_validate(self, folds: IntArray) -> Iterator[Fold]:
        """Yield every fold's answers, from a model trained on the others."""
        for number in self._progress(range(int(folds.max()) + 1), "folds"):
            held_out = np.flatnonzero(folds == number)
            network = self.train(folds != number, name=f"fold{number}", fold=number)
            self._settle(network, folds != number)
            yield Fold(
                number=number,
                held_out=held_out,
                answers=self._answer(network, held_out),
            )

    def train(self, chosen: BoolArray, *, name: str = "final", fold: int | None = None) -> Network:
        """Return the network trained on the chosen samples, its kernels at half precision."""
        network = self.build()
        _, top = network.split(
            self.recipe.frozen_until,
            taught_cells=self.recipe.localisation > 0,
            pretrained=self.recipe.weights != RANDOM,
            wide_kernels=self.recipe.wide_kernels,
        )
        weights, curve = self._store / f"{name}.weights.h5", self._store / f"{name}.json"
        if curve.exists():
            top.load_weights(weights)
            history = self.read_history(name)
        else:
            history = self._begin(network, chosen, name)
            if self.recipe.epochs:
                state, features = self._store / name, self._features
                epochs = fit(top, features, self.lessons, chosen, self.recipe, state=state, progress=self._progress)
                history += [{**epoch, "epoch": epoch["epoch"] + len(history)} for epoch in epochs]
            top.save_weights(weights)
            curve.write_text(json.dumps(history), encoding="utf-8")
        if fold is not None:
            self._history += [{"fold": fold, **epoch} for epoch in history]
        for model in network.models.values():
            tie_cam(model)
            round_kernels(model)
        return network

    def _begin(self, network: Network, chosen: BoolArray, name: str) -> History:
        """Give the network what was learned first, from the same samples; return the losses of those epochs."""
        if self._first is None:
            return []
        earlier = self._first.train(chosen, name=name)
        for task, model in network.models.items():
            for layer in model.layers:
                layer.set_weights(earlier.models[task].get_layer(layer.name).get_weights())
        return self._first.read_history(name)

    def read_history(self, name: str) -> History:
        """Return the losses of each epoch of a finished training."""
        history: History = json.loads((self._store / f"{name}.json").read_text(encoding="utf-8"))
        return history

    def build(self) -> Network:
        """Return the network that every training starts from."""
        keras.utils.set_random_seed(self.recipe.seed)
        outputs = {lesson.task: lesson.targets.shape[1] for lesson in self.lessons}
        network = build_network(self.recipe.architecture, image_size=self.recipe.image_size, outputs=outputs)
        # One of them is enough: they share the backbone.
        load_weights(next(iter(network.models.values())), self.recipe.architecture, self.recipe.weights)
        return network

    def _answer(self, network: Network, rows: IntArray) -> dict[Task, Answers]:
        """Return what every head says about every look."""
        looks = self._predict(network, rows, (PLAIN, MIRRORED, SHIFTED))
        answers = {task: self._gather([look[task] for look in looks]) for task in network.models}
        if self._looks_again(network):
            shifted = looks[SHIFTED][Task.FRACTURE]["cam"]
            answers[Task.FRACTURE] = self._look_closer(network, rows, answers[Task.FRACTURE], shifted)
        return answers

    def _answer_as_served(self, network: Network) -> dict[Task, Answers]:
        """Return what every head says about each sample and its mirror image, asked as the shipped models will be.

        Kept features are rounded, and made with kernels that are not: they move a logit by up to 0.03.
        """
        answer = open_export(network.above(""))
        answered: list[list[dict[str, Float32Array]]] = [[], []]
        for row in self._progress(range(len(self.samples)), "radiographs as served"):
            square = render_plain(self.samples[row], self.preprocessing)
            for said, look in zip(answered, (square, square[:, ::-1]), strict=True):
                said.append(answer(self.preprocessing.normalise(look)))
        looks = [self._split_by_task(network, said) for said in answered]
        answers = {task: self._gather([look[task] for look in looks]) for task in network.models}
        if self._looks_again(network):
            rows = np.arange(len(self.samples))
            answers[Task.FRACTURE] = self._look_closer(network, rows, answers[Task.FRACTURE], None)
        return answers

    def _looks_again(self, network: Network) -> bool:
        return self.recipe.second_look is not None and Task.FRACTURE in network.models

    def _look_closer(
        self, network: Network, rows: IntArray, first: Answers, shifted_cams: Float32Array | None
    ) -> Answers:
        """Return what the fracture head says after a closer look, of samples as they may come from elsewhere too.

        `shifted_cams` are the maps of those, of one view, shape (samples, h, w, outputs); None leaves them out.
        """
        assert self.recipe.second_look is not None  # noqa: S101 - asked before
        again = SecondLook(
            answer=open_export(network.above("")),
            task=Task.FRACTURE,
            preprocessing=self.preprocessing,
            share=self.recipe.second_look,
        )
        logits, cams, parts = first.logits.copy(), first.cams.copy(), first.parts.copy()
        both = [PLAIN, MIRRORED]
        for place in self._progress(range(len(rows)), "closer looks"):
            sample = self.samples[rows[place]]
            pixels = read_unit_pixels(sample.path)
            seen, parts[place] = again.look(pixels, self._frame(pixels), Seen(logits[place, both], cams[place]))
            logits[place, both], cams[place] = seen
            if shifted_cams is not None:
                draw = draw_of_shifted(self.recipe, int(rows[place]))
                pixels = draw_shifted(sample, self.preprocessing, rng=draw, places=self._places)
                one = [SHIFTED]
                seen, _ = again.look(
                    pixels, self._frame(pixels), Seen(logits[place, one], shifted_cams[place][np.newaxis])
                )
                logits[place, one] = seen.logits
        return replace(first, logits=logits, cams=cams, parts=parts)

    def _frame(self, pixels: Float32Array) -> Letterbox:
        return Letterbox.around(Radiograph(pixels=pixels), size=self.recipe.image_size)

    @cached_property
    def _places(self) -> Places:
        return list_places(self.samples)

    def _gather(self, looks: Sequence[Mapping[str, Float32Array]]) -> Answers:
        mirrored_back = looks[MIRRORED]["cam"][:, :, ::-1]
        logits = np.stack([look["logits"] for look in looks], axis=1)
        cams = np.stack([looks[PLAIN]["cam"], mirrored_back], axis=1)
        return Answers(
            logits=logits,
            cams=cams,
            first_cams=cams,
            parts=np.zeros((len(logits), logits.shape[-1], 4), np.int64),
        )

    def _settle(self, network: Network, chosen: BoolArray) -> None:
        """Refit linear heads of exclusive outputs on some of the chosen samples."""
        for lesson in (lesson for lesson in self.lessons if lesson.exclusive):
            task, rows = lesson.task, np.flatnonzero(chosen & (lesson.targets >= 0).any(axis=1))[::FEW]
            looks = [look[task]["embedding"] for look in self._predict(network, rows, (PLAIN, SHIFTED))]
            label = np.tile(lesson.targets[rows].argmax(axis=1), len(looks))
            if refit_head(network.models[task], np.concatenate(looks), label):
                round_kernels(network.models[task])

    def _predict(
        self, network: Network, rows: IntArray, looks: Sequence[int]
    ) -> list[dict[Task, dict[str, Float32Array]]]:
        """Return every head's outputs for each of the looks, the network being exported once."""
        answer = open_export(network.above(self.recipe.frozen_until))
        return [self._ask(answer, network, rows, look) for look in looks]

    def _ask(self, answer: Answer, network: Network, rows: IntArray, look: int) -> dict[Task, dict[str, Float32Array]]:
        parts = [
            answer(np.asarray(self._features.looks[batch, look], np.float32))
            for batch in np.array_split(rows, max(1, len(rows) // BATCH))
        ]
        return self._split_by_task(network, parts)

    def _split_by_task(
        self, network: Network, parts: Sequence[Mapping[str, Float32Array]]
    ) -> dict[Task, dict[str, Float32Array]]:
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {
            task: {name: joined[f"{task.value}_{name}"] for name in model.output}
            for task, model in network.models.items()
        }


def keep_outputs(network: Network, recipe: Recipe, task: Task, kept: Sequence[int]) -> keras.Model:
    """Return the task's model with only some of its outputs, in this order."""
    model = network.models[task]
    smaller = build_network(recipe.architecture, image_size=recipe.image_size, outputs={task: len(kept)}).models[task]
    for layer in model.layers:
        wanted = [tuple(weights.shape) for weights in smaller.get_layer(layer.name).weights]
        weights = layer.get_weights()
        if [values.shape for values in weights] != wanted:
            weights = [values[..., list(kept)] for values in weights]
        smaller.get_layer(layer.name).set_weights(weights)
    return smaller


def name_training(samples: Sequence[Sample], lessons: Sequence[Lesson], recipe: Recipe) -> str:
    """Return a folder name that changes with everything that decides the outcome of training."""
    learned = [(lesson.task.value, lesson.targets.tobytes()) for lesson in lessons]
    # Wide kernels are named apart: what was trained before there was a choice keeps its folder.
    apart = ("wide kernels",) if recipe.wide_kernels else ()
    return "training-" + digest((name_draws(samples, recipe), recipe, learned, *apart))
