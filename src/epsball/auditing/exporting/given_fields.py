"""Fields that no run can fill: what is for a person to say, and what epsball does not measure."""

from collections.abc import Mapping

from epsball.auditing.exporting.field import Field

UNMEASURED: Mapping[str, str] = {
    "relevance": "epsball does not measure which inputs a decision rests on",
    "sequences of decisions": "an audit is about single decisions",
    "training-data poisoning": "an audit sees the trained model only",
    "model poisoning": "an audit finds no back doors; the model's hash says which model was tested",
    "confidentiality": "model inversion, membership inference and extraction are not tried",
    "corruptions and faults": "natural corruptions, drift and faults of sensors are not tried",
    "feedback loops": "an audit sees single decisions",
    "model flaws": "only witnesses within the perturbation set are searched for",
    "change since the last release": "one run is exported; epsball compare tests two on the same examples",
}
"""What epsball does not or cannot measure, with the reason."""

FOR_THE_PROVIDER: Mapping[str, str] = {
    "appropriate level": "which level is appropriate is for the provider to justify",
    "thresholds": "the levels declared are for the provider to set",
    "fallback": "what happens when the model fails is for the provider to describe",
    "countermeasures": "what is done against attacks in operation is for the provider to describe",
    "monitoring": "how the system is watched in operation is for the provider to describe",
}
"""What a form asks that only the provider can say."""


def unfilled() -> list[Field]:
    """Return these fields."""
    unmeasured = [Field(name=name, missing=why) for name, why in UNMEASURED.items()]
    return unmeasured + [Field(name=name, missing=why, given=True) for name, why in FOR_THE_PROVIDER.items()]
