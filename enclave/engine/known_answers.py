# SPDX-License-Identifier: Apache-2.0
"""What weights of the catalogue say to one text: the next tokens, the likeliest each time, and their logits.

Two CPU variants round differently, and each rounding is multiplied by the quantisation of what follows. Over
these tokens the logits of `haswell` and `zen4` differ by up to 0.35, and the second choice is at least 1.5
behind the first in both: so one list serves every variant, with a tolerance of three such differences. Code
or weights that compute something else are further off at once: wherever half of one of the 30 layers is
missing, some logit is off by 1.8 or more.
"""

TEXT = "1, 2, 3, 4, 5, 6, 7, 8,"
TOLERANCE = 1.0
# SHA-256 of the weights -> tokens and logits.
KNOWN_ANSWERS: dict[str, tuple[tuple[int, float], ...]] = {
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": (
        (216, 20.39),
        (41, 36.77),
        (28, 31.56),
        (216, 19.87),
        (33, 34.76),
        (32, 31.17),
        (28, 31.70),
        (216, 17.62),
    ),
}
