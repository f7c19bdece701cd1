"""What an attack may need beside the model under test: a surrogate, or partners."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclopts import Parameter

from epsball.cli.common import Common, Subject, load_model
from epsball.errors import InputError
from epsball.option_text import split_options

if TYPE_CHECKING:
    from epsball.attacks import Attack
    from epsball.classifier import Classifier


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the search uses beside the model.

    Parameters
    ----------
    surrogate
        A model that the method searches instead; its points are tried on MODEL (transfer).
    pool
        The data whose examples of other labels are the partners of the method collision.
    """

    surrogate: str | None = None
    pool: str | None = None

    def method(self, text: str, subject: Subject, common: Common) -> "str | Attack":
        """Return the attack that a text and these sources name.

        Raises
        ------
        InputError
            If a source is missing, or given to an attack that does not use it.
        """
        from epsball import data as datasets
        from epsball.attacks import Collision, Transfer, registry

        name, options = split_options(text)
        if self.pool is not None and name != "collision":
            raise InputError(f"--pool is {self.pool}, but the method is {name}; partners are for --method collision.")
        if self.pool is not None and self.surrogate is not None:
            raise InputError("--pool and --surrogate are both given; collision asks the model under test itself.")
        if self.pool is not None:
            x, y = datasets.load(self.pool)[:]
            return registry.with_options(Collision(pool=(x, y)), name, options)
        if name == "collision":
            raise InputError("the method collision needs partners; name their data by --pool DATA.")
        if self.surrogate is not None and name != "transfer":
            return Transfer(surrogate=self._classifier(self.surrogate, subject, common), method=text)
        if name == "transfer":
            raise InputError(
                "transfer is what --surrogate MODEL does; let --method name the attack that searches the surrogate."
            )
        return text

    def _classifier(self, model: str, subject: Subject, common: Common) -> "Classifier":
        loaded, ball = load_model(model, subject.dataset, common), subject.ball
        return loaded.classifier(low=ball.low, high=ball.high)
