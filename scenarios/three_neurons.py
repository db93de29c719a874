"""The note's small 1-3-3-1 network, neuron by neuron (note: the figure and equations below the network)."""

from scenarios import sine_network
from scenarios.types import Statement, constants, stored_start

_start = stored_start("three_neurons")
_prediction = sine_network.predict(_start)

STATEMENT = Statement(
    name="three_neurons",
    title="A 1-3-3-1 ReLU network written out neuron by neuron",
    source="Predict the sinus curve with Neural Network (NN), the layer equations",
    start=_start,
    data=sine_network.STATEMENT.data,
    truth=constants(
        **{
            "values.loss": sine_network.objective(_start),
            "values.neurons": _prediction,
            "values.matrix form": _prediction,
        }
    ),
    objective=sine_network.objective,
)
