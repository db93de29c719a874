"""A ReLU network fitted to the sine, in PyTorch: a module owns its parameters, an optimizer mutates them.

Source: the note, "Predict the sinus curve with Neural Network (NN)".
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imperative.arrays import enter, leave
from imperative.history import Recorder, gradients
from imperative.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, sine_network


# %% step: model
class Network(nn.Module):
    """Two hidden ReLU layers between one input and one output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(1, width)
        self.hidden1 = nn.Linear(width, width)
        self.hidden2 = nn.Linear(width, 1)

    def forward(self, a0: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Predict at the points ``a0``."""
        a1 = nn.functional.relu(self.input(a0))
        a2 = nn.functional.relu(self.hidden1(a1))
        a3: Tensor = self.hidden2(a2)
        return a3


def model(start: dict[str, Tensor]) -> Network:
    """The network with the given start values; nothing is drawn, so no generator is touched."""
    with torch.device("meta"):
        network = Network(width=len(start["input.bias"]))
    network.load_state_dict(start, assign=True)
    return network


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
    statement: Statement = sine_network.STATEMENT,
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
        history=recorder.history(),
        converged=leave(parameters),
        state=leave_state(optimizer, parameters),
        outcome=leave(outcome),
    )
