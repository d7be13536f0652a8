"""What the processes of these tests train; importable by name."""

import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from cases import FOUR_CASES, LOADED_BY, PAIR_CASES, SAVED_BY, Case
from tiny import MAX_NORM, RATE, make, token_loss
from torch import Tensor, nn

from deepseek.distributed import (
    Balancer,
    Layout,
    Mesh,
    PipelineRunner,
    Strategy,
    Wire,
    all_reduce_mean,
    barrier,
    clip_grad_norm,
    gradient_sync,
    is_leader,
    load_wire_state,
    measure_costs,
    optimizer_for,
    owned_stages,
    restoring,
    seed_rank,
    shard,
    split,
    stage_count,
    training_state,
    unwrap,
    wire_state,
)
from deepseek.distributed.wire import AllToAll
from deepseek.errors import InputError


class Trainer:
    """A model laid out as a case says, and what trains it."""

    def __init__(self, case: Case) -> None:
        world = dist.get_world_size() if dist.is_initialized() else 1
        self.case = case
        self.mesh = Mesh.of(Layout.of(world, case.strategy, case.stages))
        model, self.batches, self.loss = make(case.model)
        parts = [model]
        if case.stages > 1:
            count = stage_count(case.schedule, case.stages, case.chunks)
            parts = split(model, count, keep=owned_stages(self.mesh, case.schedule, case.chunks))
        self.modules = [
            shard(part, self.mesh, strategy=case.strategy, wire=case.wire) for part in parts
        ]
        self.parameters = [p for module in self.modules for p in module.parameters()]
        self.optimizer = optimizer_for(
            self.parameters, torch.optim.AdamW, self.mesh, strategy=case.strategy, lr=RATE
        )
        if case.stages > 1:
            self.runner = PipelineRunner(self.modules, self.mesh, self.loss, schedule=case.schedule)

    def train(self, begin: int = 0, end: int | None = None) -> tuple[list[float], list[float]]:
        """Losses and gradient norms of a few steps, as every rank sees them."""
        losses, norms = [], []
        for inputs, targets in self.batches[begin:end]:
            rows = slice(self.mesh.data_rank, None, self.mesh.layout.data_size)
            self.optimizer.zero_grad()
            value = self._gradients({n: x[rows] for n, x in inputs.items()}, targets[rows])
            norms.append(clip_grad_norm(self.parameters, MAX_NORM, self.mesh).item())
            self.optimizer.step()
            losses.append(all_reduce_mean(value).item())
        return losses, norms

    def evaluate(self) -> float:
        inputs, targets = self.batches[0]
        if self.case.stages > 1:
            return self.runner.evaluate(inputs, targets)[0].item()
        with torch.no_grad():
            return self.loss(self.modules[0](**inputs), targets).item()

    def _gradients(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        if self.case.stages > 1:
            return self.runner.step(inputs, targets)
        times = self.case.accumulate
        total = torch.zeros(())
        for i in range(times):
            with gradient_sync(self.modules[0], enabled=i == times - 1):
                output = self.modules[0](**{n: x[i::times] for n, x in inputs.items()})
                value = self.loss(output, targets[i::times]) / times
                value.backward()
            total += value.detach()
        return total


def train(case: Case) -> tuple[list[float], list[float]]:
    return Trainer(case).train()


# --- jobs: each runs on every rank, rank 0's result is looked at


def run_jobs(jobs: dict[str, Callable[[], object]]) -> dict[str, object]:
    """Results by name; what a job raises is its result, so that the others still run."""
    warnings.simplefilter("error")
    results: dict[str, object] = {}
    for name, job in jobs.items():
        try:
            results[name] = job()
        except Exception:  # noqa: BLE001  # told to the test
            results[name] = traceback.format_exc()
    return results


def moments() -> dict[str, object]:
    """The small things: means, seeds, places."""
    mesh = Mesh.of(Layout.of(2, "gradient"))
    before = torch.tensor([float(mesh.rank), 1.0])
    seeds: list[int | None] = [None, None]
    dist.all_gather_object(seeds, seed_rank(7, mesh))
    places: list[object] = [None, None]
    dist.all_gather_object(places, (mesh.rank, mesh.data_rank, mesh.stage, is_leader()))
    mean = all_reduce_mean(before)
    barrier()
    return {"mean": mean, "unchanged": before, "seeds": seeds, "places": places}


def exchanged(wire: Wire) -> dict[str, object]:
    """One reduce-scatter of known values, and the sum of many with the same input."""
    torch.manual_seed(dist.get_rank())
    parts = torch.randn(2, 1000)
    every: list[Tensor] = [torch.empty_like(parts) for _ in range(2)]
    dist.all_gather(every, parts)
    wanted = torch.stack(every).mean(dim=0)[dist.get_rank()]
    exchange, output = AllToAll(wire), torch.empty(1000)
    group = dist.group.WORLD
    total = torch.zeros(1000)
    errors = []
    for _ in range(20):
        exchange(output, parts.flatten().clone(), group, dist.ReduceOp.AVG)
        errors.append((output - wanted).abs().max().item())
        total += output
    late = exchange.late
    return {
        "first": errors[0],
        "mean_of_twenty": (total / 20 - wanted).abs().max().item(),
        "late": None if late is None else late.abs().amax(dim=1).tolist(),
    }


def int8_resumes() -> float:
    """Largest difference of the losses after a restart that restored what the wire owed."""
    case = Case("gpt", "gradient", wire="int8")
    whole = Trainer(case)
    whole.train(0, 3)
    owed = [{n: x.clone() for n, x in wire_state(m).items()} for m in whole.modules]
    assert any(x.abs().max() > 0 for state in owed for x in state.values())
    saved = training_state(whole.modules, whole.optimizer)
    again = Trainer(case)
    with restoring(again.modules, again.optimizer) as state:
        for section, tensors in state.items():
            for name, tensor in tensors.items():
                tensor.copy_(saved[section][name])
    for module, late in zip(again.modules, owed, strict=True):
        load_wire_state(module, late)
    return max(abs(a - b) for a, b in zip(whole.train(3)[0], again.train(3)[0], strict=True))


def _hits(output: Tensor, targets: Tensor) -> Tensor:
    right = output.argmax(dim=-1) == targets
    return torch.stack([right.sum().float(), output.float().square().sum()])


def lower_precision() -> dict[str, float]:
    """Losses and types of a pipeline in bf16, asked to take eight micro-batches."""
    model, batches, loss = make("gpt")
    inputs, targets = batches[0]
    mesh = Mesh.of(Layout.of(2, "none", 2))
    (stage,) = split(model, 2, keep=owned_stages(mesh))
    calls: list[torch.dtype] = []

    def told(output: Tensor, wanted: Tensor) -> Tensor:
        calls.append(output.dtype)
        return loss(output.float(), wanted)

    runner = PipelineRunner([stage], mesh, told, micro_batches=8, autocast=torch.bfloat16)
    value = runner.step(inputs, targets)
    found: list[object] = [None, None]
    dist.all_gather_object(found, calls)
    whole, _, _ = make("gpt")
    with torch.autocast("cpu", torch.bfloat16):
        output = whole(**inputs)
    wanted = loss(output.float(), targets)
    wanted.backward()
    own = unwrap(stage).get_parameter("blocks.0.join.weight")
    theirs = whole.get_parameter("blocks.0.join.weight")
    return {
        "loss": abs(value.item() - wanted.item()),
        "gradient": ((own.grad - theirs.grad).norm() / theirs.grad.norm()).item(),
        "types": sorted({str(dtype) for dtypes in found for dtype in dtypes}),
        "passes": len(found[1]),
    }


def evaluated() -> dict[str, float]:
    """A pipeline's evaluation of seven rows against the whole model's."""
    trainer = Trainer(Case("bert", stages=2, schedule="zbv"))
    whole, batches, loss = make("bert")
    inputs, targets = batches[0]
    inputs, targets = {name: x[:7] for name, x in inputs.items()}, targets[:7]
    value, output = trainer.runner.evaluate(inputs, targets)
    wanted = whole(**inputs)
    scores = trainer.runner.score(inputs, targets, _hits)
    assert (output is None) == (dist.get_rank() != 0)  # a V ends where it began
    return {
        "loss": abs(value.item() - loss(wanted, targets).item()),
        "output": (output - wanted).abs().max().item() if output is not None else 0.0,
        "score": (scores - _hits(wanted, targets)).abs().max().item(),
    }


def summed() -> float:
    """Gradients of a loss that is summed over tokens and divided by all of them."""
    model, batches, _ = make("gpt")
    inputs, targets = batches[0]
    tokens = targets[:, 1:].numel()

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return token_loss(logits, wanted) * wanted[:, 1:].numel() / tokens

    mesh = Mesh.of(Layout.of(2, "none", 2))
    (stage,) = split(model, 2, keep=owned_stages(mesh))
    PipelineRunner([stage], mesh, loss, reduction="sum").step(inputs, targets)
    whole, _, _ = make("gpt")
    token_loss(whole(**inputs), targets).backward()
    return max(
        (p.grad - whole.get_parameter(name).grad).abs().max().item()
        for name, p in unwrap(stage).named_parameters()
        if p.grad is not None
    )


def costs() -> tuple[object, object]:
    """Two processes measure and get the same figures."""
    model, batches, _ = make("gpt")
    found: list[object] = [None, None]
    dist.all_gather_object(found, measure_costs(model, batches[0][0]))
    assert all(parameter.grad is None for parameter in model.parameters())
    return found[0], found[1]


def norms() -> dict[str, float]:
    """The norm alone, and of nothing."""
    mesh = Mesh.of(Layout.of(2, "gradient"))
    module = shard(nn.Linear(3, 5, bias=False), mesh, strategy="gradient")
    module(torch.ones(1, 3)).sum().backward()
    (parameter,) = module.parameters()
    measured = clip_grad_norm([parameter], float("inf"), mesh).item()
    largest = parameter.grad.to_local().max().item()
    clipped = clip_grad_norm([parameter], 1.0, mesh).item()
    return {
        "measured": measured,
        "untouched": largest,
        "clipped": clipped,
        "after": clip_grad_norm([parameter], 1.0, mesh).item(),
        "none": clip_grad_norm([], 1.0, mesh).item(),
    }


def different_starts(case: Case) -> float:
    """Spread over the ranks of a parameter that each process had initialised differently."""
    torch.manual_seed(dist.get_rank())
    module = shard(nn.Linear(4, 4), Mesh.of(Layout.of(2, case.strategy)), strategy=case.strategy)
    value = module.state_dict()
    whole = next(iter(value.values()))
    whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
    every = [torch.empty_like(whole) for _ in range(2)]
    dist.all_gather(every, whole.contiguous())
    return (every[0] - every[1]).abs().max().item()


def balanced(strategy: Strategy) -> dict[str, object]:
    """Train while one process says that it is three times slower."""
    trainer = Trainer(Case("gpt", strategy))
    balancer = Balancer(4, trainer.mesh, strategy=strategy, every=2)
    shares, losses = [], []
    for inputs, targets in trainer.batches:
        trainer.optimizer.zero_grad()
        total, (module,) = torch.zeros(()), trainer.modules
        for i in balancer.own:
            rows = slice(2 * i, 2 * i + 2)
            with gradient_sync(module, enabled=i == balancer.own[-1]):
                output = module(**{name: x[rows] for name, x in inputs.items()})
                value = trainer.loss(output, targets[rows]) * balancer.loss_scale
                value.backward()
            total += value.detach()
        clip_grad_norm(trainer.parameters, MAX_NORM, trainer.mesh)
        trainer.optimizer.step()
        shares.append(balancer.shares)
        losses.append(all_reduce_mean(total).item())
        balancer.observe(len(balancer.own), len(balancer.own) * (1 + 2 * trainer.mesh.rank))
    return {"shares": shares, "losses": losses}


class Interrupted(nn.Module):
    """Adds something between its blocks: no stage can begin there."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(61, 16)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.embed(input_ids)
        for block in self.blocks:
            hidden = block(hidden) + 1
        return hidden


def refused(what: str) -> str:
    """What a user is told."""
    mesh = Mesh.of(Layout.of(2, "none", 2))
    model, batches, loss = make("gpt")
    inputs, targets = batches[0]
    if what == "between":
        model, loss = Interrupted(), lambda output, _: output.sum()
    try:
        if what == "world":
            Mesh.of(Layout.of(3))
        elif what == "whole":
            PipelineRunner([model], mesh, loss)
        elif what == "micro-batches":
            (stage,) = split(model, 2, keep=owned_stages(mesh))
            PipelineRunner([stage], mesh, loss, micro_batches=3).step(inputs, targets)
        elif what == "schedule":
            PipelineRunner(split(model, 2, keep=owned_stages(mesh)), mesh, loss, schedule="zbv")
        else:
            runner = PipelineRunner(split(model, 2, keep=owned_stages(mesh)), mesh, loss)
            rows = 1 if what == "rows" else None
            runner.step({name: x[:rows] for name, x in inputs.items()}, targets[:rows])
    except InputError as error:
        return str(error)
    except RuntimeError:  # the other rank: its neighbour left
        return "lost"
    return "accepted"


def saved_and_loaded(saver: Case, loaders: Sequence[Case]) -> dict[str, list[float]]:
    """Train three steps, save; load into other layouts of as many processes, train three more."""
    import torch.distributed.checkpoint as dcp

    begun = Trainer(saver)
    begun.train(0, 3)
    begun.evaluate()  # leaves nothing behind that would be saved
    folder = [tempfile.mkdtemp()]
    dist.broadcast_object_list(folder)
    dcp.save(training_state(begun.modules, begun.optimizer), checkpoint_id=folder[0])
    losses = {}
    for case in loaders:
        trainer = Trainer(case)
        with torch.no_grad():
            for parameter in trainer.parameters:
                parameter.add_(1)
        with restoring(trainer.modules, trainer.optimizer) as state:
            dcp.load(state, checkpoint_id=folder[0])
        losses[str(case)] = trainer.train(3)[0]
    if is_leader():
        shutil.rmtree(folder[0])
    return losses


PAIR: dict[str, Callable[[], object]] = {
    **{str(case): partial(train, case) for case in PAIR_CASES},
    **{f"exchange {wire}": partial(exchanged, wire) for wire in ("fp32", "bf16", "int8")},
    **{
        f"wire {wire}": partial(train, Case("gpt", "gradient", wire=wire))
        for wire in ("bf16", "int8")
    },
    **{f"start {s}": partial(different_starts, Case("", s)) for s in ("none", "gradient")},
    **{
        f"refused {what}": partial(refused, what)
        for what in ("world", "whole", "schedule", "rows", "micro-batches")
    },
    **{f"balance {strategy}": partial(balanced, strategy) for strategy in ("none", "gradient")},
    **{f"saved by {case}": partial(saved_and_loaded, case, LOADED_BY) for case in SAVED_BY},
    "moments": moments,
    "int8 resumes": int8_resumes,
    "evaluate": evaluated,
    "lower precision": lower_precision,
    "sum": summed,
    "costs": costs,
    "norms": norms,
}
FOUR: dict[str, Callable[[], object]] = {str(case): partial(train, case) for case in FOUR_CASES}
