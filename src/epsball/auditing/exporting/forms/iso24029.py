"""The record of ISO/IEC 24029-2:2023: domain, the four properties, and the kinds of methods."""

from epsball.auditing.exporting.forms.sections import Clause, Sections

ISO24029 = Sections(
    title="Robustness of a neural network by formal methods",
    source="Clause numbers are those of ISO/IEC 24029-2:2023",
    disclaimer=(
        "Which evidence answers which clause is epsball's reading; this is not an assessment of conformity, and no "
        "field says that anything passes."
    ),
    clauses=(
        Clause(
            number="5.1",
            title="Robustness assessment: what was tested, by whom, with what",
            fields=(
                "system", "system version", "tester", "date", "tool", "manifest", "model hash", "model arithmetic",
                "device", "random model",
            ),
        ),
        Clause(
            number="5.2",
            title="Domain",
            fields=("data", "data hash", "examples", "input shape", "input range", "perturbation set", "radius"),
        ),
        Clause(
            number="5.3",
            title="Stability: the decision is the same throughout the domain about an example",
            fields=(
                "certified accuracy", "certified accuracy, worst class", "accuracy under attack", "robust accuracy",
                "undecided", "invalid", "witnesses", "diagnosis", "power of the attack",
            ),
        ),
        Clause(
            number="5.4",
            title="Sensitivity: how much the margin of the decision changes within the domain",
            fields=("sensitivity, seen", "sensitivity, allowed"),
        ),
        Clause(number="5.5", title="Relevance: which inputs the decision rests on", fields=("relevance",)),
        Clause(
            number="5.6",
            title="Reachability: whether another class can be reached from the domain",
            fields=("reached", "unreachable", "sequences of decisions"),
        ),
        Clause(number="6.2.1.2", title="Complete or incomplete", fields=("completeness",)),
        Clause(number="6.2.1.3", title="Deterministic or not", fields=("determinism",)),
        Clause(number="6.2.1.4", title="Glass-box or closed-box", fields=("access", "attack", "attacker's knowledge")),
        Clause(number="6.2.1.5", title="Real or computer arithmetic", fields=("arithmetic",)),
        Clause(
            number="6.2.2 to 6.2.6",
            title="Kind of formal method",
            fields=("kind of method", "certificates by method", "replayable certificates"),
        ),
        Clause(number="7", title="Robustness during the life cycle", fields=("change since the last release",)),
    ),
)  # fmt: skip
