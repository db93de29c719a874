"""A line fitted by affine maps of column vectors, in PyTorch, written with ``@`` and ``.T`` as in the note.

Source: the note, "Predict a straight line using NN".
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imperative.arrays import enter, leave
from imperative.history import Recorder, gradients
from imperative.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, line_network


# %% step: model
class Network(nn.Module):
    """Three affine maps; no activation."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(1, 2)
        self.hidden1 = nn.Linear(2, 2)
        self.hidden2 = nn.Linear(2, 1)

    def columns(self, x0: Float[Tensor, "n 1"]) -> dict[str, Tensor]:
        """Every column vector of the forward pass, by the note's name."""
        x1 = self.input.bias.view(-1, 1) + self.input.weight @ x0.T
        x2 = self.hidden1.bias.view(-1, 1) + self.hidden1.weight @ x1
        output_temp = self.hidden2.bias.view(-1, 1) + self.hidden2.weight @ x2
        return {"x0.T": x0.T, "x1": x1, "x2": x2, "output_temp": output_temp}

    def forward(self, x0: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Predict at the points ``x0``."""
        return self.columns(x0)["output_temp"].view(-1, 1)


def model(start: dict[str, Tensor]) -> Network:
    """The network with the given start values; nothing is drawn, so no generator is touched."""
    with torch.device("meta"):
        network = Network()
    network.load_state_dict(start, assign=True)
    return network


def shapes(network: Network, x0: Float[Tensor, "n 1"]) -> dict[str, tuple[int, ...]]:
    """The note's table of shapes, read off the tensors."""
    columns = network.columns(x0)
    biases = {name: p.view(-1, 1) for name, p in network.named_parameters() if name.endswith("bias")}
    weights = {name: p for name, p in network.named_parameters() if name.endswith("weight")}
    sums = {"input.bias": "x1", "hidden1.bias": "x2", "hidden2.bias": "output_temp"}
    return {
        **{f"shape of {name}": tuple(t.shape) for name, t in (weights | columns).items()},
        **{f"shape of {name}.view(-1, 1)": tuple(bias.shape) for name, bias in biases.items()},
        **{
            f"broadcast shape of {name}": tuple(torch.broadcast_shapes(bias.shape, columns[sums[name]].shape))
            for name, bias in biases.items()
        },
    }


# %% step: loss
def loss(network: nn.Module, x: Float[Tensor, "n 1"], y: Float[Tensor, "n 1"]) -> Float[Tensor, ""]:
    """Mean squared error."""
    return nn.functional.mse_loss(network(x), y)


# %% step: step
def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Float[Tensor, "n 1"],
    y: Float[Tensor, "n 1"],
) -> Float[Tensor, ""]:
    """One Adam step in place; returns the loss before it."""
    optimizer.zero_grad()
    value = loss(network, x, y)
    value.backward()
    optimizer.step()
    return value.detach()


# %% step: run
def run(
    statement: Statement = line_network.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    training = statement.require_training()
    network = model(enter(statement.start, dtype, device))
    parameters = dict(network.named_parameters())
    data = enter(statement.data, dtype, device)
    value = loss(network, **data)
    value.backward()
    values, start_gradients = leave({"loss": value}), leave(gradients(parameters))

    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    resume(optimizer, list(parameters), statement.state)
    recorder = Recorder(every)
    for n in range(1, training.steps + 1):
        recorder.keep(n, step(network, optimizer, **data), parameters)

    with torch.no_grad():  # else looking at the outcome would be recorded too
        outcome = {"loss": loss(network, **data), "prediction": network(data["x"])}
    return Result(
        values=values,
        gradients=start_gradients,
        facts=shapes(network, data["x"]),
        history=recorder.history(),
        converged=leave(parameters),
        state=leave_state(optimizer, parameters),
        outcome=leave(outcome),
    )
