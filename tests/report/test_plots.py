"""The plots: valid, small, and legible on white and on black."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mlopt.report import write_report
from mlopt.report.canvas import INK, LIMIT, LOOKS, ticks
from mlopt.types.run import Run

from .synthetic import STANDARD, Spec, replace, simple_run

NAMES = ("tradeoff.svg", "latency.svg")
WHITE, DARK = "#ffffff", "#0d1117"


@pytest.mark.parametrize("name", NAMES)
def test_a_plot_is_valid_xml_without_a_background(standard: tuple[Run, Path], name: str) -> None:
    root = ElementTree.parse(standard[1].parent / "plots" / name).getroot()
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        style = path.attrib.get("style", "")
        points = (
            path.attrib.get("d", "").replace("z", "").replace("M", " ").replace("L", " ").split()
        )
        if "fill: none" in style or not style or not points or "C" in points or "Q" in points:
            continue
        numbers = np.array([float(p) for p in points if p[-1].isdigit()]).reshape(-1, 2)
        span = np.ptp(numbers, axis=0)
        assert span[0] * span[1] < 0.2 * width * height, style


@pytest.mark.parametrize("name", NAMES)
def test_a_plot_holds_neither_date_nor_path(standard: tuple[Run, Path], name: str) -> None:
    text = (standard[1].parent / "plots" / name).read_text("utf-8")
    assert "<dc:date>" not in text
    assert str(standard[1].parent) not in text


def test_plots_of_many_candidates_stay_small(tmp_path: Path) -> None:
    specs = [*STANDARD[:2]]
    for i in range(24):
        name = f"int8-static[calibration=percentile,per_channel=true,n={i}]@openvino"
        specs.append(Spec(name, 0.3 + 0.01 * i, gained=i, lost=i + 3))
    specs.append(replace(specs[-1], name="int8-broken", lost=500))
    simple_run(tmp_path, tuple(specs), winner=specs[2].name)
    write_report(tmp_path)
    for name in NAMES:
        assert (tmp_path / "plots" / name).stat().st_size < 150_000, name


@pytest.mark.parametrize("color", [INK, LIMIT, *(look.color for look in LOOKS.values())])
def test_every_colour_has_contrast_on_white_and_on_black(color: str) -> None:
    assert contrast(color, WHITE) > 4
    assert contrast(color, DARK) > 4


@pytest.mark.parametrize(
    ("low", "high"), [(0.2, 0.25), (0.9, 1.1), (0.3, 1.4), (0.31, 2.9), (1, 80), (0.01, 9000)]
)
def test_an_axis_has_a_few_round_ticks_inside_its_limits(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 9
    assert all(low <= tick <= high for tick in found)


def contrast(first: str, second: str) -> float:
    """Ratio of WCAG 2.1."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
