"""``epsball train --front``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epsball.checks import check_seed
from epsball.errors import InputError
from epsball.names import EffortName

if TYPE_CHECKING:
    from epsball.fronts import Front

_Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FrontOptions:
    """Training along an option of the objective, each network audited.

    Parameters
    ----------
    front
        An option of the objective and its values, as in alpha=0:1:0.2 or alpha=1,0.5,0: one network per value, from
        the most certified to the most natural end, each from the weights of the one before.
    scratch
        With --front: train each network anew.
    anew
        With --front: values trained anew as well, beside the warm networks, as in 0.4 or 0.2,0.4.
    warm_epochs
        With --front: epochs of each network after the first; by default those of the first.
    seeds
        With --front: seeds of the trainings, as in 0,1,2,3; by default that of --seed.
    test
        With --front: the data that the networks are measured on; by default the part held out.
    effort
        With --front: how thoroughly each network is audited.
    attack
        With --front: the attack, by default that of the effort.
    """

    front: str | None = None
    scratch: _Flag = False
    anew: str | None = None
    warm_epochs: int | None = None
    seeds: str | None = None
    test: str | None = None
    effort: EffortName = "quick"
    attack: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the flags that differ from their defaults.

        Raises
        ------
        InputError
            If there are some, but no front.
        """
        given = {name: value for name, value in vars(self).items() if value != getattr(_DEFAULTS, name)}
        if given and self.front is None:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(f"{flags}: options of a front, without one; give --front OPTION=LOW:HIGH:STEP.")
        return given

    def run(self, model: Callable[[int], Any], data: object, measured: object | None, **options: Any) -> "Front":
        """Train and audit the networks."""
        from epsball.fronts import front

        return front(
            model,
            data,
            along=str(self.front),
            test=measured,
            scratch=self.scratch,
            anew=[] if self.anew is None else self.anew.split(","),
            warm_epochs=self.warm_epochs,
            seeds=None if self.seeds is None else [_seed(part) for part in self.seeds.split(",")],
            effort=self.effort,
            attack=self.attack,
            **options,
        )


_DEFAULTS = FrontOptions()


def _seed(text: str) -> int:
    if not text.strip().isdigit():
        raise InputError(f"the seed is '{text.strip()}'; seeds are whole numbers, as in --seeds 0,1,2,3.")
    check_seed(int(text))
    return int(text)
