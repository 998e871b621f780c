r"""Attention parameters alpha: one number in [0, 1] for every entry of every mixed weight.

"Attention" is the paper's word for alpha and is unrelated to the self-attention of a transformer.
An :class:`Alpha` owns the parameters from which alpha of one weight is built; :class:`Attention` holds
one for each mixed weight and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import reduce
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from agwm.checks import NonNegative, check_value

__all__ = [
    "ALPHA_FORMS",
    "Alpha",
    "AlphaForm",
    "Attention",
    "ColumnAlpha",
    "FrozenAlpha",
    "FullAlpha",
    "RankOneAlpha",
    "RowAlpha",
    "ScalarAlpha",
    "alpha_class",
    "check_start",
]


class Alpha(nn.Module, ABC):
    r"""Attention parameters of one weight, as a product of factors: alpha = f_1 * ... * f_k.

    Subclass it for a form of your own: define ``factors`` and create parameters in ``__init__`` with
    the same signature. A weight of shape ``(*batch, rows, *columns)`` is a stack of matrices with the
    first ``num_batch_dims`` dimensions counting them (stacked experts), else one matrix.

    Args:
        shape: Shape of the weight.
        num_batch_dims: Number of leading dimensions that count matrices.
        init_std: Standard deviation of the initial values around 1, before the projection to [0, 1].
        generator: Source of the initial values; the global one when None.

    Class attributes:
        is_learnable: True if the form has factors that can be learned.
    """

    is_learnable: ClassVar[bool] = True

    def __init__(
        self,
        shape: torch.Size,
        num_batch_dims: int = 0,
        init_std: float = 0.005,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape = torch.Size(shape)
        self.num_batch_dims = num_batch_dims
        self.init_std = init_std
        self._generator = generator
        self.create_parameters()
        self._generator = None
        self.project_()

    @abstractmethod
    def create_parameters(self) -> None:
        """Create the parameters of this form; called once by the constructor."""

    @abstractmethod
    def factors(self) -> tuple[Tensor, ...]:
        """Return the factors of alpha, each of as many dimensions as the weight."""

    def new_factor(self, *varying: int) -> nn.Parameter:
        """Draw a float32 factor N(1, init_std) that varies along the given dimensions only."""
        size = [self.shape[d] if d in varying else 1 for d in range(len(self.shape))]
        noise = torch.randn(size, generator=self._generator, dtype=torch.float32)
        return nn.Parameter(1.0 + self.init_std * noise)

    def forward(self) -> Tensor:
        """Return alpha in full, of the shape of the weight."""
        factors = self.factors()
        if factors:
            return reduce(torch.mul, factors).expand(self.shape)
        device = next((parameter.device for parameter in self.parameters()), None)
        return torch.ones((), device=device).expand(self.shape)

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp every parameter to [0, 1] in place."""
        for parameter in self.parameters():
            parameter.clamp_(0.0, 1.0)

    @property
    def batch_dims(self) -> tuple[int, ...]:
        """Dimensions that count matrices."""
        return tuple(range(self.num_batch_dims))

    @property
    def row_dim(self) -> int:
        """Dimension of the rows: the first one after the batch dimensions."""
        return self.num_batch_dims

    @property
    def column_dims(self) -> tuple[int, ...]:
        """Dimensions of the columns: all after the rows."""
        return tuple(range(self.num_batch_dims + 1, len(self.shape)))


class RankOneAlpha(Alpha):
    """alpha = a b^T, a product of two rank-1 factors: the paper's form."""

    def create_parameters(self) -> None:
        """Create a (rows) and b (columns)."""
        self.a = self.new_factor(*self.batch_dims, self.row_dim)
        self.b = self.new_factor(*self.batch_dims, *self.column_dims)

    def factors(self) -> tuple[Tensor, ...]:
        """Return (a, b)."""
        return (self.a, self.b)


class _OneFactorAlpha(Alpha):
    a: nn.Parameter

    def factors(self) -> tuple[Tensor, ...]:
        return (self.a,)


class FullAlpha(_OneFactorAlpha):
    """alpha with a number for each entry of the weight."""

    def create_parameters(self) -> None:
        """Create one number an entry."""
        self.a = self.new_factor(*range(len(self.shape)))


class RowAlpha(_OneFactorAlpha):
    """alpha with a number for each row (first dimension of the matrix)."""

    def create_parameters(self) -> None:
        """Create one number a row."""
        self.a = self.new_factor(*self.batch_dims, self.row_dim)


class ColumnAlpha(_OneFactorAlpha):
    """alpha with a number for each column (all dimensions after the first of the matrix)."""

    def create_parameters(self) -> None:
        """Create one number a column."""
        self.a = self.new_factor(*self.batch_dims, *self.column_dims)


class ScalarAlpha(_OneFactorAlpha):
    """alpha with a number for each matrix."""

    def create_parameters(self) -> None:
        """Create one number a matrix."""
        self.a = self.new_factor(*self.batch_dims)


class FrozenAlpha(Alpha):
    """alpha = 1 for ever: the control. Its one parameter takes no gradient and enters no formula.

    The parameter is there so that an optimizer over ``mixup.attention.parameters()`` can be built as
    for any other form.
    """

    is_learnable = False

    def create_parameters(self) -> None:
        """Create a parameter that no formula reads, so that the module has a device."""
        self.a = nn.Parameter(torch.ones([1] * len(self.shape), dtype=torch.float32), requires_grad=False)

    def factors(self) -> tuple[Tensor, ...]:
        """Return no factor: alpha is 1."""
        return ()


AlphaForm = Literal["rank1", "full", "row", "column", "scalar", "frozen"]
ALPHA_FORMS: dict[str, type[Alpha]] = {
    "rank1": RankOneAlpha,
    "full": FullAlpha,
    "row": RowAlpha,
    "column": ColumnAlpha,
    "scalar": ScalarAlpha,
    "frozen": FrozenAlpha,
}


def check_start(init_std: object, seed: object) -> None:
    """Raise unless the initial values of alpha can be drawn with these.

    Raises:
        ConfigError: If ``init_std`` is no number of at least 0, or ``seed`` neither an integer nor None.
    """
    check_value("init_std", NonNegative, init_std, "With 0 alpha starts at 1.")
    check_value("seed", int | None, seed)


def alpha_class(alpha: str | type[Alpha]) -> type[Alpha]:
    """Return the class of a form of alpha given by name or by class.

    Args:
        alpha: A key of ``ALPHA_FORMS`` or a subclass of :class:`Alpha`.

    Returns:
        The class.

    Raises:
        ConfigError: If the name is unknown or the class is no subclass of :class:`Alpha`.
    """
    check_value("alpha", AlphaForm | type[Alpha], alpha, "Pass alpha='rank1' for the paper's form.")
    return ALPHA_FORMS[alpha] if isinstance(alpha, str) else alpha


class Attention(nn.Module):
    """The attention parameters of all mixed weights: a mapping from weight name to :class:`Alpha`.

    Parameter names are the weight's name with dots written as slashes, then the factor:
    ``bert/encoder/layer/0/attention/self/query/weight.a``.
    """

    def __init__(self) -> None:
        super().__init__()

    def add(self, name: str, alpha: Alpha) -> None:
        """Add alpha of the weight called ``name``."""
        self.add_module(name.replace(".", "/"), alpha)

    def __getitem__(self, name: str) -> Alpha:
        return cast(Alpha, self._modules[name.replace(".", "/")])

    def __iter__(self) -> Iterator[str]:
        return (key.replace("/", ".") for key in self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    @torch.no_grad()
    def in_full(self) -> dict[str, Tensor]:
        """Return alpha of every weight, of the shape of the weight, without gradient."""
        return {name: self[name]().detach() for name in self}

    @property
    def is_trainable(self) -> bool:
        """True if any attention parameter takes gradient (none does in the frozen form)."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp every attention parameter to [0, 1] in place."""
        for name in self:
            self[name].project_()
