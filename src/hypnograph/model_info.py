"""What a person and a program need to know about trained weights: the content of a checkpoint's model.json."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from hypnograph.errors import HypnographError
from hypnograph.preprocess import InputSpec
from hypnograph.stages import AASM_5, SCHEMES, StageScheme

WEIGHTS, INFO, CARD = "model.safetensors", "model.json", "README.md"
"""The files of a checkpoint."""

FORMAT = 1
"""Of model.json and of the metadata in an ONNX file; a larger number than this is from a newer hypnograph."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Everything beside the weights.

    Parameters
    ----------
    architecture
        Name of the architecture, e.g. ``"usleep"``; empty for a network that is not one of ours.
    config
        Its configuration, as plain values.
    input
        How signals are prepared for it.
    scheme
        The stages of its logits, in their order.
    sub_epochs
        Outputs for each epoch.
    reach
        How many epochs before and after an epoch its logits depend on: 0 if each stands alone; None: all in the window.
    grid
        Epochs at whose multiples a night may be cut without changing a logit, given `reach` epochs on either side.
    carries_state
        Whether the network can go on from where it stopped: it sees the past only.
    name
        What the weights are called, e.g. ``"tinysleepnet-sleepgpt"``.
    data
        What they were trained on, in words.
    split_sha256
        Hash of the file that says which subjects were trained on; empty if not known.
    metrics
        Results, e.g. ``{"kappa, 10 simulated nights": 0.81}``.
    licence
        Of the weights.
    source
        Where they come from: an address or a DOI.
    notes
        What a user should know.
    version
        The hypnograph that wrote this.

    Raises
    ------
    HypnographError
        If a number is impossible.
    """

    architecture: str
    config: Mapping[str, Any]
    input: InputSpec
    scheme: StageScheme = AASM_5
    sub_epochs: int = 1
    reach: int | None = None
    grid: int = 1
    carries_state: bool = False
    name: str = ""
    data: str = ""
    split_sha256: str = ""
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    notes: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if self.sub_epochs < 1 or self.grid < 1 or (self.reach is not None and self.reach < 0):
            raise HypnographError(
                f"sub_epochs {self.sub_epochs} and grid {self.grid} must be 1 or more, reach {self.reach} 0 or more"
            )

    @property
    def title(self) -> str:
        """The name of the weights, else of the architecture."""
        return self.name or self.architecture or "network"

    @property
    def resolution_s(self) -> float:
        """Seconds that one output covers."""
        return self.input.epoch_s / self.sub_epochs

    def gives(self, resolution_s: float) -> bool:
        """Tell whether one output covers so many seconds."""
        return abs(resolution_s - self.resolution_s) < 1e-9

    def to_json(self) -> str:
        """Return this as JSON text."""
        values = {"format": FORMAT, **dataclasses.asdict(self), "scheme": self.scheme.name}
        return json.dumps(values, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        HypnographError
            If it is something else, or of a newer format.
        """
        try:
            values = json.loads(text)
            version = values.pop("format")
            if version > FORMAT:
                raise HypnographError(f"these weights are of format {version}; this hypnograph reads up to {FORMAT}")
            if "input" not in values:
                raise HypnographError(
                    f"{values.get('architecture') or 'this'} takes no signals: it cannot stage a night"
                )
            scheme = values.pop("scheme")
            if scheme not in SCHEMES:
                raise HypnographError(f"scheme {scheme!r} is not one of {', '.join(SCHEMES)}")
            return cls(**values | {"input": InputSpec(**values["input"]), "scheme": SCHEMES[scheme]})
        except HypnographError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HypnographError(f"this is not the description of a model: {error!r}") from error
