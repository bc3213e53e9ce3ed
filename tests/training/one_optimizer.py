"""The part of a segmentation network that training needs to know its optimizer by."""

import keras


class OneOptimizer(keras.Sequential):
    """Layers that are trained by one optimizer, as `kzoo.models.Segmenter` says so."""

    @property
    def segmentation_variables(self):
        return self.trainable_variables

    def all_optimizers(self):
        return {"optimizer": self.optimizer}

    def build_optimizers(self):
        self.optimizer.build(self.trainable_variables)

    def expect_steps(self, steps):
        return steps
