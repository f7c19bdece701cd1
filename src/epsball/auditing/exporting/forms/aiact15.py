"""The record that a form on article 15 of the EU AI Act asks for: accuracy, robustness, cybersecurity."""

from epsball.auditing.exporting.forms.sections import Clause, Sections

AIACT15 = Sections(
    title="Accuracy, robustness and cybersecurity",
    source="Paragraphs are those of article 15 of Regulation (EU) 2024/1689",
    disclaimer=(
        "What is appropriate is for the provider to say; this is neither legal advice nor an assessment of conformity, "
        "and no field says that anything passes."
    ),
    clauses=(
        Clause(
            number="System",
            title="what was tested, by whom, with what",
            fields=(
                "system", "system version", "tester", "date", "tool", "manifest", "model hash", "data", "data hash",
                "examples",
            ),
        ),
        Clause(
            number="15(1)",
            title="Appropriate level, consistent through the life cycle",
            fields=("appropriate level", "change since the last release"),
        ),
        Clause(
            number="15(3)",
            title="Levels of accuracy and their metrics",
            fields=("thresholds", "natural accuracy", "natural accuracy, worst class"),
        ),
        Clause(
            number="15(4)",
            title="Resilience to errors, faults and inconsistencies; feedback loops; fallback",
            fields=("invalid", "corruptions and faults", "feedback loops", "fallback"),
        ),
        Clause(
            number="15(5) data poisoning", title="Manipulated training data", fields=("training-data poisoning",)
        ),
        Clause(
            number="15(5) model poisoning", title="Manipulated pre-trained components", fields=("model poisoning",)
        ),
        Clause(
            number="15(5) adversarial examples",
            title="Inputs made to cause a mistake",
            fields=(
                "perturbation set", "radius", "attack", "attacker's knowledge", "attacker's goal", "technique",
                "accuracy under attack", "accuracy under attack, worst class", "certified accuracy", "robust accuracy",
                "boundary risk", "undecided", "diagnosis", "power of the attack", "witnesses",
                "certificates by method", "arithmetic", "countermeasures",
            ),
        ),
        Clause(
            number="15(5) confidentiality",
            title="Attacks on the data behind the model, and on the model itself",
            fields=("confidentiality",),
        ),
        Clause(number="15(5) model flaws", title="Other flaws", fields=("model flaws",)),
        Clause(number="72", title="Monitoring after placing on the market", fields=("monitoring",)),
    ),
)  # fmt: skip
