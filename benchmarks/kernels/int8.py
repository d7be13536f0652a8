"""INT8 linear layers, activations quantized on the way, one JSON object a line.

    python benchmarks/kernels/int8.py --threads 1

Beside each product: the better of torch's dynamic quantized layers, ONNX Runtime's, and torch in
fp32; last the geometric means and the worst share of the processor's peak. torch's layers
get activations of 7 bits where 8 would overflow (that is, without VNNI); ours are exact. ONNX
Runtime's threads do not spin, which would take the core from whoever comes next.
"""

import argparse
import itertools
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from linear import LAYERS, ROWS
from measure import alternate, geometric_mean, record
from peak import int8_peak
from torch import Tensor
from torch.nn.functional import linear

from deepseek.kernels import current
from deepseek.kernels.int8 import linear_int8, pack_int8
from deepseek.nn.int8_arithmetic import int8_linear, quantize_weight, weight_sums

PEERS = {
    "torch": "torch.ops.quantized.linear_dynamic",
    "onnxruntime": "onnxruntime DynamicQuantizeLinear and MatMulInteger",
    "fp32": "torch.nn.functional.linear",
}
BARS = {"torch": 1.30, "onnxruntime": 1.25, "fp32": 4.0 if current().vnni else 1.5}
SHARE_OF_PEAK = 0.8
ENGINES = [name for name in torch.backends.quantized.supported_engines if name != "none"]


def torch_layers(x: Tensor, integers: Tensor, scales: Tensor, bias: Tensor) -> dict[str, Callable]:
    """The dynamic quantized layer of torch by each of its engines."""
    layers = {}
    zeros = torch.zeros(len(scales), dtype=torch.long)
    for engine in ENGINES:
        torch.backends.quantized.engine = engine
        with warnings.catch_warnings(action="ignore"):
            numbers = integers * scales
            weight = torch.quantize_per_channel(numbers, scales.flatten(), zeros, 0, torch.qint8)
            assert torch.equal(weight.int_repr(), integers)
        packed = torch.ops.quantized.linear_prepack(weight, bias)
        narrow = not current().vnni and engine != "qnnpack"
        layers[engine] = lambda packed=packed, narrow=narrow: torch.ops.quantized.linear_dynamic(
            x, packed, narrow
        )
    return layers


def onnx_layer(x: Tensor, integers: Tensor, scales: Tensor, bias: Tensor) -> Callable[[], object]:
    """The layer as ONNX Runtime's own quantization writes it."""
    node, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    kind = onnx.TensorProto.FLOAT
    (m, k), n = x.shape, len(scales)
    graph = onnx.helper.make_graph(
        [
            node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            node("MatMulInteger", ["xq", "w", "xz", "wz"], ["sums"]),
            node("Cast", ["sums"], ["numbers"], to=kind),
            node("Mul", ["xs", "ws"], ["scales"]),
            node("Mul", ["numbers", "scales"], ["scaled"]),
            node("Add", ["scaled", "bias"], ["y"]),
        ],
        "layer",
        [onnx.helper.make_tensor_value_info("x", kind, [m, k])],
        [onnx.helper.make_tensor_value_info("y", kind, [m, n])],
        [
            tensor(integers.T.contiguous().numpy(), "w"),
            tensor(np.zeros(n, np.int8), "wz"),
            tensor(scales.flatten().numpy(), "ws"),
            tensor(bias.numpy(), "bias"),
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    bound = session.io_binding()
    bound.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x.numpy()))
    bound.bind_ortvalue_output(
        "y", onnxruntime.OrtValue.ortvalue_from_shape_and_type([m, n], np.float32)
    )
    return lambda: session.run_with_iobinding(bound)


def measure(m: int, n: int, k: int, rounds: int) -> dict[str, float]:
    """The ratios for one product, after its result has been found right to the last bit.

    With them the share of the peak, where the product is large.
    """
    torch.manual_seed(0)
    x, weight, bias = torch.randn(m, k), torch.randn(n, k) / k**0.5, torch.randn(n)
    integers, scales = quantize_weight(weight)
    packed = pack_int8(integers, scales, "asymmetric")
    expected = int8_linear(x, integers, scales, bias, weight_sums(integers))
    assert torch.equal(linear_int8(x, packed, bias), expected)
    peak = int8_peak(torch.get_num_threads())
    engines = torch_layers(x, integers, scales, bias)
    times = alternate(
        {
            "ours": lambda: linear_int8(x, packed, bias),
            "onnxruntime": onnx_layer(x, integers, scales, bias),
            "fp32": lambda: linear(x, weight, bias),
            "peak": peak.run,
            **engines,
        },
        rounds,
    )
    best = min(engines, key=times.__getitem__)
    times["torch"] = times[best]
    work = 2 * m * n * k / 1e9
    share = work / times["ours"] * times["peak"] / peak.work
    setting = {"m": m, "n": n, "k": k}
    ratios = {
        peer: record("int8 linear", {**setting, "engine": best} if peer == "torch" else setting,
                     work / times["ours"], work / times[peer], unit="GOP/s", peer=PEERS[peer],
                     bar=BARS[peer], higher_is_better=True, share=share)
        for peer in PEERS
    }  # fmt: skip
    return {**ratios, "share": share} if m >= 128 and k >= 768 else ratios


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    shapes = sorted({shape for model in options.models for shape in LAYERS[model]})
    with torch.no_grad():
        measured = [
            measure(m, n, k, options.rounds)
            for (n, k), m in itertools.product(shapes, options.rows)
            if m * n * k < 1 << 36  # the vocabulary times 4096 rows takes seconds a call
        ]
    setting = {"products": len(measured)}
    for peer, bar in BARS.items():
        mean = geometric_mean([ratios[peer] for ratios in measured])
        record("int8 linear, geometric mean", setting, mean, 1.0, unit="ratio", peer=PEERS[peer],
               bar=bar, higher_is_better=True)  # fmt: skip
    large = [ratios["share"] for ratios in measured if "share" in ratios]
    if large:
        record("int8 linear, worst share of peak at M >= 128 and K >= 768",
               {"products": len(large)}, min(large), 1.0, unit="share", peer="int8 peak",
               bar=SHARE_OF_PEAK, higher_is_better=True)  # fmt: skip


if __name__ == "__main__":
    main()
