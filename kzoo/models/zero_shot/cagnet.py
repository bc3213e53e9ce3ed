"""CaGNet: features generated from a class's word and the context that a pixel stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf
from keras import ops

from kzoo.losses import adversarial_loss, kl_divergence, mmd, reconstruction_loss
from kzoo.models.zero_shot.contextual_module import ContextualModule
from kzoo.models.zero_shot.discriminator import Discriminator, SharedClassifier
from kzoo.models.zero_shot.generators import FeatureGenerator
from kzoo.models.zero_shot.network import ZeroShotSegmenter
from kzoo.models.zero_shot.sampling import pixels_of, sample_by_class

CONTENT_SAMPLES = 128


@keras.saving.register_keras_serializable(package="kzoo")
class CaGNet(ZeroShotSegmenter):
    """A contextual module turns what surrounds a pixel into a latent code; from it and a word features are generated.

    Training goes in turns of `phase_steps` steps. `train`: on real pixels of seen classes backbone, head, contextual
    module and classifier learn to segment; the generator, to make a pixel's feature anew from its class's word and its
    latent code; the discriminator, to tell the two apart. `finetune`: words of seen and unseen classes are stacked at
    random, pixel by pixel, with codes drawn from a Gaussian; generator, discriminator and classifier learn from them,
    the rest stays as it is. In inference generator and discriminator are not used.

    Where paper and authors' code differ, `form` decides for the contextual module (see `ContextualModule`), and
    `hidden`, `content` and `adversarial` for the rest; the defaults are the paper's.

    Args:
        form, selector: of the contextual module.
        context_filters: width of its three convolutions.
        contextual: False leaves the module out (an ablation of the paper): codes are noise.
        hidden, dropout: of the generator.
        classifier_filters: width of the layer that classifier and discriminator share.
        kl_weight, content_weight, adversarial_weight: of the latent code's divergence from a Gaussian, of the
            generated features' distance from the real ones, and of the discriminator's verdict on them.
        content: that distance: `"l2"`, pixel by pixel, or `"mmd"` over the batch's pixels.
        adversarial: form of the verdict, `"lsgan"` or `"l1"`.
        fake_weight: weight of the classification of generated features in `finetune`.
        unseen_share: share of pixels of unseen classes in `finetune`.
        phase_steps: steps of a turn. Training that ends in `train` ends with a classifier that leans to the seen
            classes: let its steps be a multiple of two turns, or say how many there will be (`expect_steps`), as
            `kzoo train` does.
        Others: see `ZeroShotSegmenter`.

    Reference: Gu et al., Context-aware Feature Generation for Zero-shot Semantic Segmentation, ACM MM 2020,
        arXiv 2008.06893.
    """

    HEAD_OF_LOSS: ClassVar[dict[str, str]] = {
        "ce_loss": "logits",
        "kl_loss": "generated",
        "content_loss": "generated",
        "generator_loss": "generated",
        "discriminator_loss": "generated",
        "fake_ce_loss": "generated",
    }
    RESTING: ClassVar[tuple[str, ...]] = ("finetune",)

    def __init__(
        self,
        num_classes: int,
        *,
        form: Literal["paper", "code"] = "paper",
        selector: bool = True,
        contextual: bool = True,
        context_filters: int = 256,
        hidden: Sequence[int] = (512,),
        dropout: Sequence[float] = (0.5,),
        classifier_filters: int = 1024,
        classifier_dropout: float = 0.5,
        kl_weight: float = 100.0,
        content_weight: float = 10.0,
        adversarial_weight: float = 1.0,
        content: Literal["l2", "mmd"] = "l2",
        bandwidths: Sequence[float] = (2, 5, 10, 20, 40, 60),
        adversarial: Literal["lsgan", "l1"] = "lsgan",
        fake_weight: float = 1.0,
        unseen_share: float = 0.5,
        phase_steps: int = 100,
        head: str = "deeplab_v2",
        output_stride: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, head=head, output_stride=output_stride, **kwargs)
        self._method_config: dict[str, Any] = {
            "form": form,
            "selector": selector,
            "contextual": contextual,
            "context_filters": context_filters,
            "hidden": list(hidden),
            "dropout": list(dropout),
            "classifier_filters": classifier_filters,
            "classifier_dropout": classifier_dropout,
            "kl_weight": kl_weight,
            "content_weight": content_weight,
            "adversarial_weight": adversarial_weight,
            "content": content,
            "bandwidths": list(bandwidths),
            "adversarial": adversarial,
            "fake_weight": fake_weight,
            "unseen_share": unseen_share,
            "phase_steps": phase_steps,
        }
        if content not in ("l2", "mmd"):
            raise ValueError(f"CaGNet: content must be l2 or mmd. Received: content={content!r}")
        if phase_steps < 1:
            raise ValueError(f"CaGNet: phase_steps must be at least 1. Received: phase_steps={phase_steps!r}")
        if not 0 < unseen_share <= 1:
            raise ValueError(f"CaGNet: unseen_share must be in 0..1, and not 0. Received: unseen_share={unseen_share}")
        self.contextual_module: ContextualModule | None = None
        if contextual:
            self.contextual_module = ContextualModule(
                context_filters, form=form, selector=selector, name="contextual_module"
            )
        activation: Literal["sigmoid"] | None = "sigmoid" if form == "code" else None
        self.generator = FeatureGenerator(
            self.head.filters, hidden, dropout, output_activation=activation, name="generator"
        )
        self.classifier = SharedClassifier(self.num_classes, classifier_filters, classifier_dropout, name="classifier")
        self.discriminator = Discriminator(name="discriminator")
        self.kl_weight, self.content_weight = float(kl_weight), float(content_weight)
        self.adversarial_weight, self.fake_weight = float(adversarial_weight), float(fake_weight)
        self.content, self.adversarial, self.bandwidths = content, adversarial, tuple(bandwidths)
        self.unseen_share = float(unseen_share)
        self.phases = {"train": int(phase_steps), "finetune": int(phase_steps)}
        self.seed = keras.random.SeedGenerator()
        self.build()

    def build(self, input_shape: Any = None) -> None:
        channels = self.head.filters
        self.generator.build((None, self.embedding_size), (None, channels))
        self.discriminator.build((None, None, None, self.classifier.filters))
        super().build(input_shape)

    # The way of a picture -------------------------------------------------------------------------------------------

    def classify(self, features: Any, training: bool | None = None) -> Any:
        if self.contextual_module is not None:
            features = self.contextual_module(features, training=training)["features"]
        return self.classifier(features, training=training)

    # Training -------------------------------------------------------------------------------------------------------

    def classifier_parts(self) -> tuple[Callable[[Any], Any], keras.layers.Conv2D]:
        """What comes before the last convolution, and that."""
        return self.classifier.hidden, self.classifier.classes

    def generate(self, classes: Sequence[int], count: int, training: bool | None = None) -> Any:
        """Features (len(classes), count, D) of classes, from their embeddings and Gaussian codes."""
        words = pixels_of(self.embeddings, classes, count)
        return self.generator(words, self._codes(words), training=training)

    def _codes(self, like: Any) -> Any:
        return keras.random.normal((*ops.shape(like)[:-1], self.head.filters), seed=self.seed)

    def _other_groups(self) -> dict[str, list[Any]]:
        judges = [*self.classifier.trainable_variables, *self.discriminator.trainable_variables]
        return {"generator_optimizer": self.generator.trainable_variables, "discriminator_optimizer": judges}

    @property
    def steps_done(self) -> Any:
        return self.all_optimizers()["generator_optimizer"].iterations

    def turn(self, images: Any, labels: Any) -> dict[str, Any]:
        return self._train(images, labels) if self.phase == "train" else self._finetune(labels)

    def _train(self, images: Any, labels: Any) -> dict[str, Any]:
        groups = self._other_groups()
        generator, judges = groups["generator_optimizer"], groups["discriminator_optimizer"]
        own = self.segmentation_variables
        with tf.GradientTape(persistent=True) as tape:
            features = self.pixel_features(images)
            places = self.labels_at(labels, features)
            valid = ops.not_equal(places, self.ignore_label)
            if self.contextual_module is None:
                codes, kl = self._codes(features), ops.zeros(())
            else:
                context = self.contextual_module(features, training=True)
                features, codes = context["features"], context["latent"]
                kl = kl_divergence(context["mean"], context["log_variance"], valid)
            hidden = self.classifier.hidden(features, training=True)
            logits = self.never_ignored(self.classifier.classes(hidden))
            ce = self.cross_entropy(self.with_own_labels(places, logits), logits)
            words = ops.take(self.embeddings, ops.where(valid, places, 0), axis=0)
            # What is generated comes to look like the features, and not the other way round.
            real = ops.stop_gradient(features)
            generated = self.generator(words, codes, training=True)
            content = self._content_loss(real, generated, places, valid)
            reals = self.discriminator(hidden)
            fakes = self.discriminator(self.classifier.hidden(generated, training=True))
            verdict = adversarial_loss(fakes, True, form=self.adversarial, valid=valid)
            deceive = self.adversarial_weight * verdict
            unmask = adversarial_loss(fakes, False, form=self.adversarial, valid=valid)
            unmask += adversarial_loss(reals, True, form=self.adversarial, valid=valid)
            learn = ce + self.kl_weight * kl + self.content_weight * content
        gradients = _by_id(tape, learn, [*own, *judges, *generator])
        gradients = _added(gradients, _by_id(tape, deceive, generator))
        gradients = _added(gradients, _by_id(tape, unmask, judges))
        del tape
        self._apply(gradients, {"optimizer": own, **groups})
        return {
            "ce_loss": ce,
            "kl_loss": kl,
            "content_loss": content,
            "generator_loss": verdict,
            "discriminator_loss": unmask,
        }

    def _finetune(self, labels: Any) -> dict[str, Any]:
        groups = self._other_groups()
        generator, judges = groups["generator_optimizer"], groups["discriminator_optimizer"]
        classes = self._stacked_classes(labels)
        words = ops.take(self.embeddings, classes, axis=0)
        with tf.GradientTape(persistent=True) as tape:
            generated = self.generator(words, self._codes(words), training=True)
            hidden = self.classifier.hidden(generated, training=True)
            ce = self.fake_weight * self.cross_entropy(classes, self.never_ignored(self.classifier.classes(hidden)))
            scores = self.discriminator(hidden)
            verdict = adversarial_loss(scores, True, form=self.adversarial)
            deceive = self.adversarial_weight * verdict
            unmask = adversarial_loss(scores, False, form=self.adversarial)
        gradients = _by_id(tape, ce, [*judges, *generator])
        gradients = _added(gradients, _by_id(tape, deceive, generator))
        gradients = _added(gradients, _by_id(tape, unmask, judges))
        del tape
        self._apply(gradients, groups)
        return {"fake_ce_loss": ce, "generator_loss": verdict, "discriminator_loss": unmask}

    def _content_loss(self, real: Any, generated: Any, labels: Any, valid: Any) -> Any:
        if self.content == "l2":
            return reconstruction_loss(real, generated, valid)
        both = ops.concatenate([real, generated], axis=-1)
        pixels, found = sample_by_class(both, labels, self.seen, CONTENT_SAMPLES, self.seed)
        ours, theirs = ops.split(pixels, 2, axis=-1)
        return mmd(ours, theirs, bandwidths=self.bandwidths, real_weights=found, generated_weights=found)

    def _stacked_classes(self, labels: Any) -> Any:
        """A class for each place that the features of such labels have, (B, h, w)."""
        stride = self.backbone.strides[getattr(self.head, "low_level", None) or "c4"]
        batch, height, width = ops.shape(labels)
        shape = (batch, -(-height // stride), -(-width // stride))
        kinds = [
            ops.take(ops.convert_to_tensor(list(kind)), keras.random.randint(shape, 0, len(kind), seed=self.seed))
            for kind in (self.unseen, self.seen)
        ]
        return ops.where(keras.random.uniform(shape, seed=self.seed) < self.unseen_share, *kinds)

    def _apply(self, gradients: dict[int, Any], groups: dict[str, list[Any]]) -> None:
        """One step of each group's optimizer."""
        for name, variables in groups.items():
            moved = [variable for variable in variables if id(variable) in gradients]
            self.all_optimizers()[name].apply([gradients[id(variable)] for variable in moved], moved)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._method_config}


def _by_id(tape: tf.GradientTape, loss: Any, variables: list[Any]) -> dict[int, Any]:
    """The gradients of the variables that the loss depends on, by the variables' identity."""
    gradients = tape.gradient(loss, variables)
    return {id(v): gradient for v, gradient in zip(variables, gradients, strict=True) if gradient is not None}


def _added(first: dict[int, Any], second: dict[int, Any]) -> dict[int, Any]:
    return first | {key: first[key] + value if key in first else value for key, value in second.items()}
