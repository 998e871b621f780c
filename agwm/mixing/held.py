"""Forms of alpha that keep the values they are drawn with: a control in which nothing is learned."""

from __future__ import annotations

import functools
from typing import Any

from agwm.mixing.alpha import Alpha, alpha_class

__all__ = ["held"]


@functools.cache
def held(alpha: str | type[Alpha]) -> type[Alpha]:
    """Return the form of alpha that draws the same factors as another one and never learns them.

    Args:
        alpha: A key of ``ALPHA_FORMS`` or a subclass of :class:`agwm.Alpha`.

    Returns:
        The class; of a form that has nothing to learn, the form itself.

    Raises:
        ConfigError: If there is no such form.

    Example:
        >>> import torch
        >>> alpha = held("row")(torch.Size([2, 3]), init_std=0.0)
        >>> alpha(), alpha.a.requires_grad
        (tensor([[1., 1., 1.],
                [1., 1., 1.]]), False)
    """
    form: Any = alpha_class(alpha)
    if not form.is_learnable:
        return form

    class Held(form):
        is_learnable = False

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.requires_grad_(False)

    Held.__name__ = Held.__qualname__ = f"Held{form.__name__}"
    Held.__doc__ = f"{form.__name__} as it is drawn."
    return Held
