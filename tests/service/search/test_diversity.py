"""Near-duplicates go, and different hits come forward."""

import numpy as np
from hits import hit, names

from connectors.calibration import Calibration, PairCurve
from service.search.diversity import diversified, without_duplicates

PLAIN = Calibration.none()
NEAR = (1.0, 0.05)  # its cosine to (1, 0) is 0.9988


def test_near_duplicates_of_a_better_hit_are_left_out() -> None:
    ranked = [
        hit("a", 0.9, vector=(1, 0)),
        hit("again", 0.8, vector=NEAR),
        hit("b", 0.7, vector=(0, 1)),
        hit("b again", 0.6, vector=(0.05, 1)),
    ]
    assert names(without_duplicates(ranked, 0.99)) == ["a", "b"]
    assert names(without_duplicates(ranked, 0.9999)) == names(ranked)


def test_a_hit_is_compared_with_those_that_were_kept_only() -> None:
    steps = [hit(str(i), 1 - i / 10, vector=(np.cos(i / 4), np.sin(i / 4))) for i in range(4)]
    # Each is near the one before it; every second is left out, the others are far enough apart.
    assert names(without_duplicates(steps, np.cos(0.3))) == ["0", "2"]


def test_a_picture_is_no_duplicate_of_a_text() -> None:
    ranked = [hit("a", 0.9), hit("b", 0.8, "text"), hit("c", 0.7, "text")]
    assert names(without_duplicates(ranked, 0.99)) == ["a", "b"]


def test_no_diversity_leaves_the_order_as_it_is() -> None:
    ranked = [hit(str(i), 0.9 - i / 10, vector=(1, i % 2)) for i in range(6)]
    assert names(diversified(ranked, 0.0, PLAIN)) == names(ranked)
    assert diversified([], 0.5, PLAIN) == []


def test_the_marginally_relevant_come_as_the_equation_says() -> None:
    ranked = [
        hit("best", 0.9, vector=(1, 0)),
        hit("like best", 0.85, vector=NEAR),
        hit("other", 0.6, vector=(0, 1)),
        hit("between", 0.5, vector=(1, 1)),
    ]
    # Likeness is sigmoid(4 cosine). After "best": 0.5 * 0.85 - 0.5 * 0.982 = -0.066, 0.5 * 0.6 - 0.5 * 0.5 =
    # 0.05, and 0.5 * 0.5 - 0.5 * 0.944 = -0.222.
    assert names(diversified(ranked, 0.5, PLAIN)) == ["best", "other", "like best", "between"]
    assert names(diversified(ranked, 0.1, PLAIN)) == ["best", "like best", "other", "between"]
    assert sorted(names(diversified(ranked, 1.0, PLAIN))) == sorted(names(ranked))


def test_a_hit_that_does_not_match_is_not_brought_forward_for_being_of_another_modality() -> None:
    images = Calibration(pairs={"image->image": PairCurve(slope=10, bias=-10)})
    ranked = [hit("dog", 0.9, vector=(1, 0.3)), hit("wolf", 0.8, vector=(1, -0.2))]
    ranked += [hit("chair", 0.02, "point_cloud", vector=(0, 1))]
    # The two pictures' cosine is 0.88, more than the score of the second; their chance to match is 0.24.
    assert names(diversified(ranked, 0.5, images)) == ["dog", "wolf", "chair"]


def test_the_result_agrees_with_the_definition_written_out() -> None:
    rng = np.random.default_rng(1)
    ranked = [hit(str(i), float(rng.random()), vector=rng.standard_normal(5)) for i in range(30)]
    left, taken = list(ranked), []
    while left:

        def value(each, taken=taken) -> float:
            cosines = [float(each.hit.point.unified @ other.hit.point.unified) for other in taken]
            return 0.7 * each.score - 0.3 * max((1 / (1 + np.exp(-4 * c)) for c in cosines), default=0.0)

        taken.append(max(left, key=value))
        left.remove(taken[-1])
    assert names(diversified(ranked, 0.3, PLAIN)) == names(taken)
