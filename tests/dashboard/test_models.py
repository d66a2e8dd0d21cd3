"""Model cards: what lies in the folders, what is broken there, and which report may be read."""

from pathlib import Path

from dashboard.models import Shelves, report_path
from dashboard.payload_models import metric, model_sections
from monitor.config import Detector
from monitor.modelfile import set_current
from tests.dashboard.plant import write_model


def shelves(folder: Path, **more: object) -> Shelves:
    """The shelves of one detector."""
    return Shelves((Detector(name="pumps", model=str(folder), assets=("*",), **more),))  # type: ignore[arg-type]


def test_a_card_says_what_the_model_file_says_of_itself(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "7" / "report.html").write_text("<p>report")
    (card,) = model_sections(shelves(folder).read(), {"pumps": {"7": 3}})["cards"]
    (version,) = card["versions"]
    assert (card["current"], card["watches"], card["problem"]) == ("7", "*", "")
    assert (version["serves"], version["report"], len(version["sha256"])) == (True, True, 64)
    assert version["model"]["channels"][0] == {
        "name": "vibration 1", "unit": "mm/s", "low": None, "high": None, "drifting": False,
    }  # fmt: skip
    assert (version["model"]["window"], version["model"]["budget"]) == (64, 1.0)
    assert version["model"]["limit"] > 0.5
    assert card["seen"] == [{"version": "7", "assets": 3}]


def test_a_broken_file_and_a_broken_pointer_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "10").mkdir()
    (folder / "10" / "model.onnx").write_bytes(b"no model at all")
    set_current(folder, "11")
    (card,) = model_sections(shelves(folder).read(), {})["cards"]
    assert [version["version"] for version in card["versions"]] == ["10", "7"]
    assert card["versions"][0]["problem"]
    assert card["versions"][1]["model"] is not None
    assert "11" in card["problem"]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    (card,) = model_sections(shelves(tmp_path / "none").read(), {})["cards"]
    assert card["problem"] == "There is no such model directory on this machine."
    assert model_sections(None, {})["ready"] is False


def test_a_new_version_and_a_moved_pointer_are_seen_at_the_next_look(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    both = shelves(folder)
    assert both.read()[0].current == "7"
    (folder / "8").mkdir()
    (folder / "8" / "model.onnx").write_bytes((folder / "7" / "model.onnx").read_bytes())
    set_current(folder, "8")
    assert both.read()[0].current == "8"
    assert [file.version for file in both.read()[0].files] == ["8", "7"]


def test_only_a_report_on_a_shelf_is_found_whatever_the_names_say(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    report = folder / "7" / "report.html"
    report.write_text("<p>report")
    (tmp_path / "report.html").write_text("secret")
    read = shelves(folder).read()
    assert report_path(read, "pumps", "7") == report
    for detector, version in (("pumps", "../.."), ("pumps", ".."), ("pumps", ""), ("other", "7"), ("pumps", "8")):
        assert report_path(read, detector, version) is None


def test_metrics_are_short_texts_whatever_they_are() -> None:
    assert metric(0.022091) == "0.02209"
    assert metric(["a", "b"]) == "a, b"
    assert metric([]) == "none"
    assert len(metric({"tried": "x" * 5000})) < 210
