"""State: the model after a prefix of a pipeline, in memory or in its run folder."""

from __future__ import annotations

from compress.keras_models.model import KerasModel
from compress.runs.folder import RunFolder
from compress.tflite.model import TFLiteModel

AnyModel = KerasModel | TFLiteModel


class State:
    """A model in memory, or in the run folder of a reused prefix, from where it is loaded on first use."""

    def __init__(
        self, source: AnyModel | RunFolder, format: str = "keras", trust: bool = False
    ) -> None:
        self._source, self._format, self._trust = source, format, trust

    def model(self) -> AnyModel:
        if isinstance(self._source, RunFolder):
            from compress.model_files.load import load_model

            self._source = load_model(self._source.model_file(self._format), self._trust)
        return self._source
