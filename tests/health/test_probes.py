"""The probes on the real machine, and the ways in which two processes can fail to meet."""

import importlib.util
import os
import signal
import time
from importlib.metadata import version
from types import ModuleType

import psutil
import pytest

from deepseek.health.machine import Machine, ProbeFailure
from deepseek.health.probes import onnx_providers, torch_facts

LIMIT = 60.0


def test_the_written_out_model_is_what_it_says() -> None:
    import onnx

    model = onnx.load_model_from_string(onnx_providers.MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert [(n.op_type, list(n.input), list(n.output)) for n in model.graph.node] == [
        ("Add", ["x", "x"], ["y"])
    ]


def test_jit() -> None:
    facts = Machine().probe("jit", limit=LIMIT)
    assert facts["version"].startswith("0.")
    assert facts["processor"]
    assert 0 < facts["compile_seconds"] < LIMIT


def test_onnx_runs_on_the_cpu_and_nothing_is_claimed_falsely() -> None:
    facts = Machine().probe("onnx_providers", limit=LIMIT)
    assert facts["providers"]["CPUExecutionProvider"] is None
    if not os.path.exists("/proc/driver/nvidia"):  # noqa: PTH110
        assert facts["providers"].get("CUDAExecutionProvider", "absent") is not None


def test_a_package_and_one_that_is_not_there() -> None:
    assert Machine().probe("package", "onnx", limit=LIMIT)["seconds"] > 0
    with pytest.raises(ProbeFailure, match="No module named 'no_such_package'"):
        Machine().probe("package", "no_such_package", limit=LIMIT)


def test_torch_and_gloo() -> None:
    facts = Machine().probe("torch_facts", limit=LIMIT)
    assert facts["version"] == version("torch")
    assert facts["threads"] >= 1
    assert facts["capability"]
    assert facts["gloo"]["bytes"] == 16384
    assert facts["gloo"]["seconds"] < 5


def fresh_probe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("probe_under_test", torch_facts.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def fail(port: tuple[int, int]) -> float:
    raise RuntimeError("bind: address in use")


def crash(port: tuple[int, int]) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def hang(port: tuple[int, int]) -> float:
    time.sleep(60)
    return 0.0


def agree(port: tuple[int, int]) -> float:
    return 0.25


def wait_for_port(port: tuple[int, int]) -> float:
    os.close(port[1])
    if not os.read(port[0], 16):
        raise ConnectionError("the first process ended early")
    return 0.0


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (agree, agree, {"seconds": 0.25, "bytes": 16384}),
        (fail, hang, {"error": "RuntimeError: bind: address in use"}),
        (hang, fail, {"error": "RuntimeError: bind: address in use"}),
        (crash, wait_for_port, {"error": "ConnectionError: the first process ended early"}),
        (hang, hang, {"error": "no answer within 0.5 s"}),
        (agree, hang, {"error": "no answer within 0.5 s"}),
    ],
)
def test_two_processes(
    monkeypatch: pytest.MonkeyPatch, first: object, second: object, answer: dict[str, object]
) -> None:
    probe = fresh_probe()
    monkeypatch.setattr(probe, "_first", first)
    monkeypatch.setattr(probe, "_second", second)
    before = open_files()
    family = psutil.Process().children()  # a helper of multiprocessing may live as long as we do
    begin = time.monotonic()
    assert probe.all_reduce(0.5) == answer
    assert time.monotonic() - begin < 5
    assert open_files() == before
    assert psutil.Process().children() == family  # nobody is left behind
