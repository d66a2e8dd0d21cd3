"""What an export refuses, and what it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from monitor.errors import InvalidModel
from monitor.modelfile import METADATA_KEY, Calibration, Channel, ModelMetadata, Tail, Training, parse_metadata
from tests.laws import C, W, plant
from training import export
from training.scorer import Scorer, scaling_of


class Echo(nn.Module):
    """Reconstructs nothing: a constant, and a latent unit."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        return values * 0 + self.level, values[:, 0, :1]


def scorer(level: float) -> Scorer:
    return Scorer(scaling_of(plant(50).reshape(-1, C)), Echo(level))


@pytest.fixture(scope="module")
def model() -> Any:
    return export.to_onnx(scorer(0.5), W, C)


def test_a_graph_that_differs_from_pytorch_is_refused(model: Any) -> None:
    with pytest.raises(InvalidModel, match="differ by"):
        export.check_agreement(model, scorer(0.501), export.golden_windows(plant(20)))


def test_a_graph_that_is_not_finite_is_refused() -> None:
    broken = scorer(float("inf"))
    with pytest.raises(InvalidModel, match="not finite"):
        export.check_agreement(export.to_onnx(broken, W, C), broken, plant(20))


def test_a_graph_that_onnx_runtime_does_not_load_is_refused(model: Any) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(InvalidModel, match="does not load"):
        export.check_agreement(broken, scorer(0.5), plant(20))


def test_golden_windows_hold_what_breaks_graphs() -> None:
    windows = export.golden_windows(plant(20))
    missing = np.isnan(windows)
    assert missing.all(axis=(1, 2)).any()
    assert (missing.all(axis=1).any(axis=1) & ~missing.all(axis=(1, 2))).any()
    assert np.nanmax(np.abs(windows)) >= 1e30


def test_a_file_tells_nothing_of_the_machine_that_made_it(model: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    export.write(model, metadata(), file)
    assert str(Path(export.__file__).parent).encode() not in file.read_bytes()
    assert b"stack_trace" not in file.read_bytes()


def test_a_file_is_written_whole_with_its_metadata(model: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    export.write(model, metadata(), file)
    props = {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}
    assert list(props) == [METADATA_KEY]
    assert parse_metadata(props[METADATA_KEY]) == metadata()
    assert list(tmp_path.iterdir()) == [file]


def metadata() -> ModelMetadata:
    return ModelMetadata(
        schema=1,
        name="m",
        version="1",
        family="echo",
        channels=tuple(Channel(f"c{number}") for number in range(C)),
        window=W,
        stride=2,
        period_ms=1000,
        min_observed=0.5,
        calibration=Calibration(100, 50.0, ((0.0, 0.0), (0.95, 1.0)), Tail(1.0, 0.05, 0.1, 0.2)),
        training=Training(100, ("a",), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "0"),
        metrics={},
        created="2026-01-02T00:00:00Z",
    )
