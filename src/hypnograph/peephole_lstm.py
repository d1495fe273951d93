"""An LSTM layer with peepholes, as TensorFlow's LSTMCell has them and torch's LSTM has not."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusedLstm(nn.LSTM):
    """One layer of torch's LSTM, with the types of its weights."""

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter


class Lstm(nn.Module):
    """One LSTM layer in one direction, with or without peepholes.

    Peepholes show the gates the cell: the input and the forget gate the one before, the output gate the new one
    (Sak et al. 2014, arXiv 1402.1128). Without them the fused `torch.nn.LSTM` computes the same.
    """

    def __init__(self, n_inputs: int, units: int, *, peepholes: bool) -> None:
        super().__init__()
        self.lstm = FusedLstm(n_inputs, units, batch_first=True)
        # Glorot over the official code's one matrix, which holds input and recurrent weights of the four gates.
        limit = math.sqrt(6 / (n_inputs + units + 4 * units))
        for parameter in (self.lstm.weight_ih_l0, self.lstm.weight_hh_l0):
            nn.init.uniform_(parameter, -limit, limit)
        nn.init.zeros_(self.lstm.bias_ih_l0)
        nn.init.ones_(self.lstm.bias_ih_l0[units : 2 * units].detach())
        # One bias is enough: the second stays zero and is not trained.
        nn.init.zeros_(self.lstm.bias_hh_l0)
        self.lstm.bias_hh_l0.requires_grad_(False)
        edge = math.sqrt(3 / units)
        self.peephole = nn.Parameter(torch.empty(3, units).uniform_(-edge, edge)) if peepholes else None

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (window, context, unit) and the last state; a state is (output and cell, window, unit)."""
        if torch.compiler.is_exporting():
            return self._as_onnx(x, state)
        if self.peephole is None:
            outputs, (output, cell) = self.lstm(x, (state[:1].contiguous(), state[1:].contiguous()))
            return outputs, torch.cat([output, cell])
        outputs, cells = self.unroll(x, state)
        return outputs, torch.stack([outputs[:, -1], cells[:, -1]])

    def unroll(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and cells at each epoch, both (window, context, unit)."""
        weights = self.lstm
        # All that does not depend on the epoch before, in one product.
        inputs = functional.linear(x, weights.weight_ih_l0, weights.bias_ih_l0 + weights.bias_hh_l0)
        output, cell = state[0], state[1]
        peephole = self.peephole if self.peephole is not None else x.new_zeros(3, cell.shape[-1])
        outputs, cells = [], []
        for arriving in inputs.unbind(1):
            take, keep, new, show = (arriving + functional.linear(output, weights.weight_hh_l0)).chunk(4, dim=-1)
            taken = torch.sigmoid(take + peephole[0] * cell) * torch.tanh(new)
            cell = torch.sigmoid(keep + peephole[1] * cell) * cell + taken
            output = torch.sigmoid(show + peephole[2] * cell) * torch.tanh(cell)
            outputs.append(output)
            cells.append(cell)
        return torch.stack(outputs, dim=1), torch.stack(cells, dim=1)

    def _as_onnx(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` does as ONNX's own LSTM, which has peepholes; a loop would fix the context's length."""
        (window, context), units = x.shape[:2], state.shape[-1]
        weights = [self.lstm.weight_ih_l0, self.lstm.weight_hh_l0, self.lstm.bias_ih_l0, self.lstm.bias_hh_l0]
        # torch orders the gates input, forget, cell, output; ONNX input, output, forget, cell.
        gates = [torch.cat([part.chunk(4)[i] for i in (0, 3, 1, 2)]) for part in weights]
        peephole = None if self.peephole is None else self.peephole[[0, 2, 1]].reshape(1, -1)
        outputs, output, cell = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (x.transpose(0, 1), gates[0][None], gates[1][None], torch.cat(gates[2:])[None], None, state[:1], state[1:])
            + (() if peephole is None else (peephole,)),
            {"hidden_size": units},
            dtypes=(x.dtype,) * 3,
            shapes=((context, 1, window, units), (1, window, units), (1, window, units)),
        )
        return outputs.squeeze(1).transpose(0, 1), torch.cat([output, cell])
