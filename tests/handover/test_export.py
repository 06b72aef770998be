"""`compress export`: a folder that compiles, runs its golden examples, and can be verified."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from compress import backend
from compress.cli.main import cli
from compress.handover import c_source, operators
from compress.handover.export import CHECKSUMS, ROW
from compress.keras_models.model import KerasModel
from compress.micro import interpreter
from compress.tflite.flatbuffer import read
from compress.tflite.graph import Graph, Operator
from support.tflite_examples import export, float16, functional, int8, three_layers_model

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILERS = {"c": ["gcc", "-std=c99"], "c++": ["g++", "-std=c++11", "-x", "c++"]}
# An invoke that returns the golden outputs, with the first number wrong by WRONG_BY.
STUB = """
#include <string.h>
#include "net_golden.h"
int net_invoke(const int8_t *input, int8_t *output) {
  int example;
  for (example = 0; example < NET_EXAMPLES; ++example) {
    if (memcmp(input, net_golden_inputs[example], NET_INPUT_NUMBERS) == 0) {
      memcpy(output, net_golden_outputs[example], NET_OUTPUT_NUMBERS);
      output[0] = (int8_t)(output[0] + WRONG_BY);
      return 0;
    }
  }
  return 1;
}
"""
# The part of TFLM that the operators' header needs to compile.
RESOLVER = """
enum TfLiteStatus {{ kTfLiteOk, kTfLiteError }};
namespace tflite {{
template <unsigned int n> class MicroMutableOpResolver {{
 public:
  {methods}
}};
}}
"""
# The built-in operators of TFLM, as its methods Add... spell them: those that MicroMutableOpResolver declares in
# tensorflow/lite/micro/micro_mutable_op_resolver.h. The methods for custom operators are left out.
TFLM_NAMES = """
Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs
BroadcastTo CallOnce Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D
Dequantize Div DynamicUpdateSlice Elu EmbeddingLookup Equal Exp ExpandDims Fill Floor FloorDiv
FloorMod FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If L2Normalization L2Pool2D
LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D Maximum
Mean Minimum MirrorPad Mul Neg NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll
ReduceMax ReduceMin Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt
SelectV2 Shape Sin Slice Softmax SpaceToBatchNd SpaceToDepth Split SplitV Sqrt Square
SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose TransposeConv
UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike
"""
TFLM_METHODS = [f"Add{name}" for name in TFLM_NAMES.split()]


def compress(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="module")
def content() -> bytes:
    """A TFLite file that no run of ours made."""
    seen = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
    return export(three_layers_model(), int8(seen))


@pytest.fixture
def folder(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "Net.tflite").write_bytes(content)
    done = compress(
        "export", tmp_path / "Net.tflite", "--to", tmp_path / "out", "--input-scale", "1/255"
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "out"


def build(folder: Path, language: str, wrong_by: int = 0) -> subprocess.CompletedProcess[str]:
    (folder.parent / "stub.c").write_text(STUB)
    sources = [*sorted(map(str, folder.glob("*.c"))), str(folder.parent / "stub.c")]
    program = folder.parent / f"check-{language.replace('+', 'p')}"
    command = [*COMPILERS[language], *WARNINGS, f"-DWRONG_BY={wrong_by}", f"-I{folder}", *sources]
    subprocess.run([*command, "-o", str(program)], check=True)
    return subprocess.run([str(program)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("language", COMPILERS)
def test_the_exported_code_compiles_without_warnings_and_passes_its_golden_examples(
    folder: Path, language: str
) -> None:
    done = build(folder, language)
    assert (done.returncode, done.stdout) == (0, "4 of 4 examples as expected\n")


def test_the_golden_program_reports_a_wrong_output(folder: Path) -> None:
    done = build(folder, "c", wrong_by=1)
    assert done.returncode == 1
    assert "example 0: off by up to 1" in done.stdout


def test_the_c_array_has_the_bytes_of_the_file(folder: Path, content: bytes) -> None:
    source = (folder / "net_data.c").read_text()
    assert bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})", source)) == content
    header = (folder / "net_data.h").read_text()
    assert f"#define NET_BYTES {len(content)}\n" in header
    assert f"#define NET_ARENA_BYTES {interpreter.arena(content).total}\n" in header


def test_golden_outputs_are_the_outputs_of_tflm(folder: Path, content: bytes) -> None:
    numbers = re.findall(
        r"-?\d+", (folder / "net_golden.c").read_text().split("golden_outputs", 1)[1]
    )
    outputs = np.array(numbers, int).reshape(4, 3)
    inputs = re.findall(
        r"-?\d+", (folder / "net_golden.c").read_text().split("{", 1)[1].split(";")[0]
    )
    codes = np.array(inputs, int).reshape(4, 6, 6, 2)
    (given,), (gives,) = read(content).inputs, read(content).outputs
    pixels = np.rint((codes - given.zero_points[0]) * given.scales[0] * 255).astype(np.uint8)
    scores = interpreter.scores(content, pixels, 1 / 255)
    np.testing.assert_allclose(
        (outputs - gives.zero_points[0]) * gives.scales[0], scores, atol=1e-6
    )


def test_the_operators_header_registers_each_operator_by_its_tflm_method(
    folder: Path, content: bytes
) -> None:
    methods = operators.methods(read(content))
    assert {"AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected"} <= set(methods)
    stub = folder.parent / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    stub.parent.mkdir(parents=True)
    declared = "\n  ".join(
        f"TfLiteStatus {m}() {{ return kTfLiteOk; }}" for m in [*TFLM_METHODS, "AddDecode"]
    )
    stub.write_text(RESOLVER.format(methods=declared))
    main = folder.parent / "main.cc"
    main.write_text(
        '#include "net_operators.h"\n'
        "int main() { tflite::MicroMutableOpResolver<NET_OPERATORS> r; return net_add_operators(r); }\n"
    )
    program = folder.parent / "main"
    command = ["g++", "-std=c++11", *WARNINGS, f"-I{folder}", f"-I{folder.parent}", str(main)]
    subprocess.run([*command, "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0


def test_every_operator_that_tflm_has_is_registered_by_the_name_of_its_method() -> None:
    kinds = {n.upper() for n in vars(backend.tflite_schema().BuiltinOperator) if n[0] != "_"}
    given = {}
    for name in kinds:
        (given[name],) = operators.methods(Graph((), (), (Operator(name, (), (), 0),)))
        assert given[name].lower() == "add" + name.replace("_", "").lower()
    assert set(TFLM_METHODS) - set(given.values()) == set()
    encoded = operators.methods(Graph((), (), (), encoded=True))
    assert encoded == ["AddDecode"]


def test_the_model_card_states_size_arena_operators_and_quantization(
    folder: Path, content: bytes
) -> None:
    card = (folder / "MODEL_CARD.md").read_text()
    for part in (
        f"{len(content):,} bytes",
        f"arena of {interpreter.arena(content).total:,} bytes (x86-64, reference kernels)",
        "CONV_2D",
        "round(pixel * 0.00392156863 /",
        "Not measured: the file was handed over without a row",
        "compress verify",
    ):
        assert part in card


def test_verify_finds_a_changed_byte_in_any_file(folder: Path) -> None:
    assert compress("verify", folder).exit_code == 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        done = compress("verify", folder)
        assert done.exit_code == 1, path.name
        assert "Traceback" not in done.output
        path.write_bytes(whole)
    (folder / "new.c").write_text("")
    assert "no checksum" in compress("verify", folder).stderr
    (folder / "new.c").unlink()
    (folder / "net_data.c").unlink()
    assert "no such file" in compress("verify", folder).stderr


def test_export_overwrites_no_existing_folder(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = compress("export", tmp_path / "Net.tflite", "--to", folder)
    assert done.exit_code == 1
    assert "is there already" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_that_tflm_does_not_run_is_exported_without_c_and_with_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "half.tflite").write_bytes(export(three_layers_model(), float16))
    done = compress("export", tmp_path / "half.tflite", "--to", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["files"] == [
        "half.tflite",
        "labels.txt",
        "MODEL_CARD.md",
        "checksums.txt",
    ]
    assert (
        "TFLM does not run it: its weights are float16"
        in (tmp_path / "out/MODEL_CARD.md").read_text()
    )


@pytest.mark.parametrize("choose", [lambda converter: None], ids=["float32"])
def test_the_exported_code_of_a_float_file_compiles(choose: Any, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(export(functional((4,), ("Dense", {"units": 2})), choose))
    folder = tmp_path / "out"
    done = compress("export", tmp_path / "net.tflite", "--to", folder)
    assert done.exit_code == 0, done.output
    stub = STUB.replace("int8_t", "float").replace("memcmp(input, net_golden_inputs[example], NET_INPUT_NUMBERS)", "memcmp(input, net_golden_inputs[example], sizeof(float) * NET_INPUT_NUMBERS)").replace("NET_OUTPUT_NUMBERS);", "sizeof(float) * NET_OUTPUT_NUMBERS);")  # fmt: skip  # noqa: E501
    (tmp_path / "stub.c").write_text(stub)
    sources = [*map(str, sorted(folder.glob("*.c"))), str(tmp_path / "stub.c")]
    program = str(tmp_path / "check")
    subprocess.run(
        ["gcc", "-std=c99", *WARNINGS, "-DWRONG_BY=0", f"-I{folder}", *sources, "-o", program],
        check=True,
    )
    assert subprocess.run([program], check=False).returncode == 0


def test_hostile_labels_and_names_are_escaped_in_c() -> None:
    assert c_source.identifier('"; system("x") //') == "system_x"
    assert c_source.text('"??/\n\\') == '"\\042\\077\\077/\\012\\134"'


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_compilers_are_installed(compiler: str) -> None:
    assert shutil.which(compiler), "the tests of exported sources need a C and a C++ compiler"


def test_a_run_is_exported_with_its_row_and_verified_field_by_field(
    toy_model: KerasModel, tmp_path: Path
) -> None:
    toy_model.save(tmp_path / "toy.keras")
    where = ["--out", tmp_path / "runs", "--results", tmp_path / "rows.jsonl"]
    done = compress(
        "run", "--task", "toy", "--model", tmp_path / "toy.keras", *where, "--json", "quantize"
    )
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)[-1]
    (run,) = (tmp_path / "runs").glob("quantize*")
    done = compress("verify", run, *where)
    assert done.exit_code == 0, done.output
    assert "tflite_digest" in done.stdout
    assert compress("verify", row["run"][:12], *where, "--json").exit_code == 0
    folder = tmp_path / "out"
    assert compress("export", run, "--to", folder, "--name", "toy").exit_code == 0
    assert compress("verify", folder).exit_code == 0
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"{row['top1']:.2%}" in card
    assert "`quantize --scheme int8`" in card
    assert f"{row['top1_low']:.2%} to {row['top1_high']:.2%}" in card


@pytest.mark.parametrize("what", ["model", "row", "results"])
def test_verify_finds_a_changed_model_or_row(
    what: str, toy_model: KerasModel, tmp_path: Path
) -> None:
    toy_model.save(tmp_path / "toy.keras")
    where = ["--out", tmp_path / "runs", "--results", tmp_path / "rows.jsonl"]
    compress(
        "run", "--task", "toy", "--model", tmp_path / "toy.keras", *where, "--json", "quantize"
    )
    (run,) = (tmp_path / "runs").glob("quantize*")
    if what == "model":
        whole = bytearray((run / "model.tflite").read_bytes())
        whole[-20] ^= 1
        (run / "model.tflite").write_bytes(whole)
    else:
        path = run / "manifest.json" if what == "row" else tmp_path / "rows.jsonl"
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    done = compress("verify", run, *where)
    assert done.exit_code == 1
    assert "not equal" in done.stderr or "TFLite" in done.stderr
    assert "Traceback" not in done.output


@pytest.fixture(scope="module")
def of_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of a run of the toy task, with its row."""
    there = tmp_path_factory.mktemp("handed")
    where = ["--out", there / "runs", "--results", there / "rows.jsonl"]
    assert compress("run", "--task", "toy", *where, "quantize").exit_code == 0
    (run,) = (there / "runs").glob("quantize*")
    assert compress("export", run, "--to", there / "out", "--name", "toy").exit_code == 0
    return there / "out"


@pytest.mark.parametrize("asked", [[], ["--json"]], ids=["table", "json"])
def test_verify_without_tflite_micro_names_the_fields_that_it_did_not_measure(
    asked: list[str], of_a_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads((of_a_run / ROW).read_text())["on_micro"] == "runs"
    monkeypatch.setattr("compress.micro.interpreter.is_installed", lambda: False)
    done = compress("verify", of_a_run, *asked)
    assert done.exit_code == 0, done.output
    fields = ["on_micro", "arena_bytes", "arena_parts"]
    assert (
        f"not measured, because tflite-micro is not installed: {', '.join(fields)}; "
        "pip install 'compress-cnn[micro]'."
    ) in done.stderr
    if asked:
        record = json.loads(done.stdout)
        assert record["equal"]
        assert record["not_measured"] == fields
        assert not {check["field"] for check in record["checks"]} & set(fields)
    else:
        assert "not equal" not in done.stdout
        assert "measured fields are equal" in done.stdout


def with_checksums(folder: Path) -> None:
    """Rewrite the list of checksums, as a forger of the folder would."""
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / CHECKSUMS).write_text("".join(lines))


def test_verify_does_not_run_code_that_a_row_names(
    of_a_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(of_a_run, tmp_path / "out"))
    row = json.loads((folder / ROW).read_text())
    (folder / ROW).write_text(json.dumps(row | {"task": "evil_of_row:Evil"}))
    (folder / "evil_of_row.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    with_checksums(folder)
    monkeypatch.chdir(folder)
    done = compress("verify", ".")
    assert done.exit_code == 1
    assert "the row is about task 'evil_of_row:Evil', which is not installed" in done.stderr
    assert not Path("ran").exists()


@pytest.mark.parametrize("what", ["missing", "two", "a pipe"])
def test_verify_refuses_a_folder_with_a_missing_added_or_special_file(
    what: str, folder: Path
) -> None:
    (file,) = folder.glob("*.tflite")
    if what == "two":
        shutil.copy(file, folder / "other.tflite")
    else:
        file.unlink()
    if what == "a pipe":
        os.mkfifo(file)
    done = compress("verify", folder)
    assert done.exit_code == 1
    assert "is recorded as" in done.stderr


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]", '{"task": 1}'])
def test_verify_names_a_forged_row(content: str, of_a_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(of_a_run, tmp_path / "out"))
    (folder / ROW).write_text(content)
    with_checksums(folder)
    done = compress("verify", folder)
    assert done.exit_code == 1
    assert f"{folder / ROW} is not a row: " in done.stderr


def test_a_forged_folder_of_two_files_is_refused(folder: Path) -> None:
    (file,) = folder.glob("*.tflite")
    shutil.copy(file, folder / "other.tflite")
    with_checksums(folder)
    done = compress("verify", folder)
    assert done.exit_code == 1
    assert "has 2 .tflite files; expected one" in done.stderr


def test_a_file_of_two_inputs_is_refused(tmp_path: Path) -> None:
    tf = backend.tensorflow()
    given = tf.TensorSpec([1, 4], tf.float32)
    function = tf.function(lambda one, two: one + two).get_concrete_function(given, given)
    file = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    (tmp_path / "two.tflite").write_bytes(file)
    done = compress("export", tmp_path / "two.tflite", "--to", tmp_path / "out")
    assert done.exit_code == 1
    assert "the file has 2 inputs and 1 outputs; expected one of each" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["nothing-there", "0123456789ab"])
def test_a_missing_source_is_refused_in_a_sentence(source: str, tmp_path: Path) -> None:
    for command in (["export", source, "--to", tmp_path / "x"], ["verify", source]):
        done = compress(*command, "--out", tmp_path / "runs")
        assert done.exit_code == 1
        assert source in done.stderr
