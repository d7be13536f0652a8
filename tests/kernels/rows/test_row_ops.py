"""The row kernels as torch sees them: operators, gradients, tracing, other devices."""

import multiprocessing

import pytest
import torch

from deepseek import kernels
from deepseek.errors import InputError
from deepseek.kernels import jit, ops
from deepseek.kernels.rows.embedding_kernel import build_embedding
from deepseek.kernels.rows.norm_kernel import build_norm
from deepseek.kernels.rows.reference import norm_reference, rotary_reference, softmax_reference
from deepseek.kernels.rows.rotary_kernel import build_rotary
from deepseek.kernels.rows.softmax_kernel import build_softmax
from deepseek.kernels.rows.spec import EmbeddingForm, NormForm, RotaryForm, SoftmaxForm

FP32, BF16 = "float32", "bfloat16"
FORMS = [
    (build_norm, NormForm(True, FP32, FP32, FP32, FP32, FP32, FP32, "gelu", streamed=True)),
    (build_norm, NormForm(False, BF16, BF16, BF16, BF16, BF16, BF16, "silu")),
    (build_softmax, SoftmaxForm(FP32, FP32, "bool", FP32, scaled=True, held="out")),
    (build_softmax, SoftmaxForm(BF16, BF16, "bool", BF16, scaled=True, held="scratch")),
    (build_softmax, SoftmaxForm(BF16, BF16, BF16, BF16, logarithm=True, streamed=True)),
    (build_embedding, EmbeddingForm(("int64", "int32"), (BF16, FP32), BF16, True, BF16, FP32)),
    (build_rotary, RotaryForm(FP32, BF16, "int32")),
    (build_rotary, RotaryForm(BF16, FP32, "int64", interleaved=True)),
]


def test_kernels_compile_for_every_target(known):
    """Also for processors that this is not; and nothing in them calls a library."""
    for build, form in FORMS:
        module = build(known, form)
        text = jit.assembly(str(module), known)
        words = [line.split()[:2] for line in text.splitlines()]
        called = {line[1] for line in words if line[:1] in (["callq"], ["bl"])}
        assert called <= {function.name for function in module.ir.functions if function.blocks}
        assert ("sfence" in text) == (known.architecture == "x86_64" and form in STREAMED)


STREAMED = [form for _, form in FORMS if getattr(form, "streamed", False)]


def operands(grad=False, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 5, 20), (3, 5, 20), (20,), (20,))
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    return [x.requires_grad_(grad) for x in tensors]


def rotary_operands(grad=False):
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 5, 3, 16, generator=generator).transpose(1, 2), torch.randn(2, 1, 5, 16)
    return q.requires_grad_(grad), k.requires_grad_(grad), torch.randn(9, 6), torch.randn(9, 6)


def calls(grad=False, dtype=torch.float32):
    x, residual, weight, bias = operands(grad, dtype)
    mask = torch.arange(20) < 15
    tables = [torch.randn(9, 20, requires_grad=grad).to(dtype) for _ in range(2)]
    ids = [torch.randint(9, (2, 3)), torch.arange(3)]
    return {
        "layer_norm": (x, weight, bias, 1e-3, residual, "gelu", torch.float32),
        "rms_norm": (x, weight, 1e-3, None, "silu"),
        "add_layer_norm": (x, residual, weight, bias, 1e-3, "relu"),
        "add_rms_norm": (x, residual, weight, 1e-3, "gelu_tanh", torch.bfloat16),
        "softmax": (x, mask, bias, 0.5),
        "log_softmax": (x, None, residual, 0.5, torch.float32),
        "embedding": (ids, tables),
        "embedding_layer_norm": (ids, tables, weight, bias),
        "rotary": (*rotary_operands(grad), torch.randint(9, (2, 5)), True),
    }


WITH_GRADIENTS = [name for name in calls() if "embedding" not in name]


@pytest.mark.parametrize("name", calls())
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str
)
def test_opcheck(name, dtype):
    grad = name in WITH_GRADIENTS and dtype == torch.float32
    torch.library.opcheck(getattr(torch.ops.deepseek, name).default, calls(grad, dtype)[name])


@pytest.mark.parametrize("name", calls())
def test_operators_do_what_the_functions_do(name):
    arguments = calls()[name]
    theirs = getattr(torch.ops.deepseek, name)(*arguments)
    ours = getattr(kernels, name)(*arguments)
    pairs = zip(*((y,) if isinstance(y, torch.Tensor) else y for y in (ours, theirs)), strict=True)
    for a, b in pairs:
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", calls())
def test_fake_tensors_look_like_results(name):
    def to_meta(value):
        if isinstance(value, list):
            return [to_meta(x) for x in value]
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    arguments = calls()[name]
    real = getattr(kernels, name)(*arguments)
    fake = getattr(kernels, name)(*map(to_meta, arguments))
    pairs = zip(*((y,) if isinstance(y, torch.Tensor) else y for y in (real, fake)), strict=True)
    for a, b in pairs:
        assert b.device.type == "meta"
        assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def gradients_of(function, tensors):
    results = function(*tensors)
    results = (results,) if isinstance(results, torch.Tensor) else results
    total = sum((y.double().sin() * (1 + i)).sum() for i, y in enumerate(results))
    return torch.autograd.grad(total, tensors)


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("centered", [True, False])
def test_gradients_of_norms(activation, centered):
    x, residual, weight, bias = operands(grad=True)
    if centered:
        tensors, given = (x, residual, weight, bias), (1e-3, activation)
    else:
        tensors, given = (x, residual, weight), (1e-3, activation)
    ours = gradients_of(
        lambda *t: (kernels.add_layer_norm if centered else kernels.add_rms_norm)(*t, *given),
        tensors,
    )
    exact = [t.detach().double().requires_grad_() for t in tensors]
    theirs = gradients_of(
        lambda x, residual, weight, bias=None: norm_reference(
            x, weight, bias, 1e-3, residual, activation, centered=centered, precision=torch.float64
        ),
        exact,
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_gradients_of_norms_without_parameters():
    x = operands(grad=True)[0]
    for function, centered in ((kernels.layer_norm, True), (kernels.rms_norm, False)):
        (ours,) = gradients_of(lambda x, f=function: f(x[0, 0], eps=1e-3), [x])
        exact = x.detach().double().requires_grad_()
        (theirs,) = gradients_of(
            lambda x, c=centered: norm_reference(
                x[0, 0], eps=1e-3, centered=c, precision=torch.float64
            )[0],
            [exact],
        )
        torch.testing.assert_close(ours.double(), theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("logarithm", [False, True])
def test_gradients_of_softmax(logarithm):
    x, _, bias, _ = operands(grad=True)
    mask = torch.arange(20) < 15
    chosen = kernels.log_softmax if logarithm else kernels.softmax
    mask = None if logarithm else mask  # the logarithm of a hidden score is -infinity
    ours = gradients_of(lambda x, bias: chosen(x, mask, bias, 0.3), (x, bias))
    exact = [t.detach().double().requires_grad_() for t in (x, bias)]
    theirs = gradients_of(
        lambda x, bias: softmax_reference(
            x, mask, bias, 0.3, logarithm=logarithm, precision=torch.float64
        ),
        exact,
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("interleaved", [False, True])
def test_gradients_of_rotary(interleaved):
    q, k, cos, sin = rotary_operands(grad=True)
    positions = torch.arange(5)
    ours = gradients_of(lambda *t: kernels.rotary(*t, cos, sin, positions, interleaved), (q, k))
    exact = [t.detach().double().requires_grad_() for t in (q, k)]
    theirs = gradients_of(
        lambda *t: rotary_reference(*t, cos, sin, positions, interleaved, precision=torch.float64),
        exact,
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_gradients_that_do_not_exist_are_refused():
    x, residual, weight, _ = operands(grad=True)
    with pytest.raises(InputError, match="expected `mask` without a gradient"):
        kernels.softmax(x, residual)
    q, k, cos, sin = rotary_operands()
    with pytest.raises(InputError, match="expected `sin` without a gradient"):
        kernels.rotary(q, k, cos, sin.requires_grad_(), torch.arange(5))
    table = torch.ones(9, 20, requires_grad=True)
    y = kernels.embedding_layer_norm(torch.arange(9), table, weight)
    with pytest.raises(RuntimeError, match=r"deepseek\.embedding_layer_norm"):
        y.sum().backward()
    y = kernels.embedding([torch.arange(9)] * 2, [table, table])
    with pytest.raises(RuntimeError, match=r"deepseek\.embedding"):
        y.sum().backward()


def test_exported_graph_keeps_the_operators():
    class Layer(torch.nn.Module):
        def forward(self, x, weight):
            return kernels.softmax(kernels.layer_norm(x, weight, activation="gelu"), scale=0.5)

    x, _, weight, _ = operands()
    program = torch.export.export(Layer(), (x, weight), strict=False)
    assert "deepseek.layer_norm" in str(program.graph)
    assert "deepseek.softmax" in str(program.graph)
    torch.testing.assert_close(program.module()(x, weight), Layer()(x, weight))


def test_four_python_threads_a_thousand_calls(wrong_calls):
    x, residual = torch.randn(2, 40, 1000)

    def compute():
        return kernels.softmax(kernels.layer_norm(x, residual=residual), scale=0.5)

    assert wrong_calls(1000, compute, compute()) == []


def _norm_in_child(x, queue):
    queue.put(kernels.rms_norm(x).tolist())


def test_in_a_forked_process():
    x = torch.randn(300, 100)
    expected = kernels.rms_norm(x)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_norm_in_child, args=(x, queue))
    child.start()
    result = torch.tensor(queue.get(timeout=100))
    child.join(20)
    assert child.exitcode == 0
    torch.testing.assert_close(result, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", calls())
def test_cuda_goes_to_torch(name):
    def to_cuda(value):
        if isinstance(value, list):
            return [to_cuda(x) for x in value]
        return value.cuda() if isinstance(value, torch.Tensor) else value

    arguments = calls()[name]
    ours = getattr(kernels, name)(*arguments)
    theirs = getattr(kernels, name)(*map(to_cuda, arguments))
    pairs = zip(*((y,) if isinstance(y, torch.Tensor) else y for y in (ours, theirs)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b.cpu(), atol=1e-5, rtol=1e-4)


def test_operators_are_all_registered():
    assert set(calls()) <= set(ops.__all__)
