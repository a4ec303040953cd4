"""``mlopt diagnose`` on a tiny quantized model, from the file to the document; and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import pytest

from mlopt import api
from mlopt.api._diagnose import DiagnoseResult
from mlopt.cli.app import main
from mlopt.errors import ConfigError
from mlopt.pipeline.diagnose import Examples, diagnose_candidate
from mlopt.types.artifact import Artifact, Manifest
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.diagnosis import Diagnosis
from mlopt.types.run import CandidateResult
from mlopt.workers import Limits

sys.path.append(str(Path(__file__).parents[1] / "diagnosis"))
from tiny_graphs import Tiny


def write(path: Path, batch: int | str = "batch") -> Path:
    """Two convolutions in INT8 with a Tanh between them."""
    t = Tiny()
    y = t.node("Conv", t.pair(t.input("x", (batch, 4, 8, 8))), t.weight(4, 4, 3, 3))
    y = t.pair(t.node("Tanh", t.pair(y)))
    onnx.save(t.model(t.pair(t.node("Conv", y, t.weight(4, 4, 3, 3)))), path)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> DiagnoseResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        path = write(tmp_path_factory.mktemp("diagnose") / "tiny.onnx", batch=2)
        result = api.diagnose(path)
        assert list(path.parent.iterdir()) == [path]
        return result


def test_the_document_holds_all_that_was_found(found: DiagnoseResult) -> None:
    document = json.loads(json.dumps(found.document(), allow_nan=False))

    assert document["schema_version"] == 1
    assert set(document) == {
        *Diagnosis.model_fields, "schema_version", "model", "gmacs_per_s", "int8_peak_share",
    }  # fmt: skip
    assert (document["provider"], document["batch_size"]) == ("cpu", 2)
    assert document["synthetic"] is True
    assert document["fused"] == {"QLinearConv": 2}
    assert document["macs"] == {"int8": 2 * 4 * 36 * (6 * 6 + 4 * 4)}
    assert document["int8_peak_share"] > 0
    assert document["peaks"]["float_gmacs_per_s"] > 0
    assert document["portability"]["can_saturate"] == 2
    assert document["fallbacks"] == []
    assert document["settings"]["graph_optimization"] == "all"


def test_what_did_not_fuse_is_named_with_its_reason(found: DiagnoseResult) -> None:
    by_reason = {one.reason: one for one in found.diagnosis.unfused}

    assert set(by_reason) == {"model_input", "model_output", "no_int8_kernel"}
    assert by_reason["no_int8_kernel"].operator == "Tanh"
    assert found.diagnosis.islands is not None
    assert found.diagnosis.islands.operators == {"Tanh": 1}


def test_shares_add_up_and_the_profiler_is_named(found: DiagnoseResult) -> None:
    assert sum(one.share for one in found.diagnosis.operators) == pytest.approx(1.0)
    assert any("under the profiler" in note for note in found.notes)
    assert any("synthetic" in note for note in found.notes)
    assert any(line.startswith("INT8 on other processors") for line in found.findings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.onnx"], "there is no file or directory 'nowhere.onnx'"),
        (["empty.onnx"], "'empty.onnx': empty.onnx"),
        (["tiny.onnx", "--data", "nowhere.npz"], "there is no file 'nowhere.npz'"),
        (["tiny.onnx", "-p", "cqu"], "unknown provider 'cqu'"),
        (["fixed.onnx", "--batch-size", "3"], "takes batches of exactly 2"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_message_and_exit_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    write(tmp_path / "tiny.onnx")
    write(tmp_path / "fixed.onnx", batch=2)

    assert main(["diagnose", *arguments]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error:") == 1
    assert words in err


def test_a_pytorch_model_is_refused_by_name(tmp_path: Path) -> None:
    manifest = Manifest(
        format="torch", main="m.bin", files={}, inputs=(), outputs=(), lineage=(), key=""
    )
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())

    with pytest.raises(ConfigError, match="is a PyTorch model, and only ONNX models"):
        api.diagnose(tmp_path)


def test_a_candidate_that_runs_in_pytorch_has_no_diagnosis(tmp_path: Path) -> None:
    plan = PlannedCandidate(
        name="eager", role="reference", recipe=None, provider="cpu", runner="pytorch"
    )
    artifact = Artifact.model_construct(directory=tmp_path)
    examples = Examples(tmp_path, 1, synthetic=False)

    found = diagnose_candidate(
        CandidateResult(plan=plan), artifact, examples, Limits(), lambda event: None
    )

    assert found is None
