"""Linear heads on fixed features: what scikit-learn finds, written for the features as they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from agwm.methods.linear_head import fit_classes, fit_label_set, fit_scores


def blobs(num=90, classes=3, size=5, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    centres = rng.normal(size=(classes, size))
    return spread * rng.normal(size=(num, size)) * [1, 10, 0.1, 1, 1] + centres[labels], labels


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_the_logistic_regression_of_its_strength(classes):
    features, labels = blobs(classes=classes)
    head = fit_classes(features, labels, classes)
    scaler = StandardScaler().fit(features)
    plain = LogisticRegression(C=head.strength, max_iter=2000, tol=1e-8).fit(
        scaler.transform(features), labels
    )
    found = log_softmax(features @ head.weight.T + head.bias, axis=1)
    expected = plain.predict_log_proba(scaler.transform(features))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=1e-3)  # of two solvers


def test_the_strength_follows_the_noise():
    quiet, noisy = blobs(spread=0.1), blobs()
    shuffled = np.random.default_rng(1).permutation(noisy[1])
    assert fit_classes(*quiet, 3).strength > 100 * fit_classes(noisy[0], shuffled, 3).strength


def test_class_weights_move_the_answers():
    features, labels = blobs(num=60, classes=2, spread=3.0)
    shares = [
        (features @ head.weight.T + head.bias).argmax(1).mean()
        for head in (fit_classes(features, labels, 2, np.array(w)) for w in ([1.0, 1.0], [1.0, 20.0]))
    ]
    assert shares[1] > shares[0] + 0.1


def test_a_class_of_one_and_a_class_of_none():
    features, labels = blobs(classes=3)
    labels = np.where(labels == 2, 0, labels)
    labels[2] = 3
    head = fit_classes(features, labels, 5)
    assert head.weight.shape == (5, 5) and np.isfinite(head.weight).all() and np.isfinite(head.bias).all()
    answers = (features @ head.weight.T + head.bias).argmax(1)
    assert (answers == labels).mean() > 0.6 and not set(answers) & {2, 4}


def test_one_class_alone_is_the_answer():
    features, _ = blobs()
    head = fit_classes(features, np.full(len(features), 1), 3)
    logits = features @ head.weight.T + head.bias
    probabilities = np.exp(log_softmax(logits, axis=1))
    assert (probabilities.argmax(1) == 1).all() and (probabilities[:, 1] > 0.97).all()


def test_a_feature_that_does_not_vary_is_no_division_by_zero():
    features, labels = blobs()
    features[:, 3] = 7.0
    assert np.isfinite(fit_classes(features, labels, 3).weight).all()
    assert np.isfinite(fit_scores(features, labels.astype(float)).weight).all()


def test_scores_are_those_of_ridge_regression():
    features, labels = blobs()
    scores = features @ [1.0, -0.2, 3.0, 0.0, 2.0] + labels
    head = fit_scores(features, scores)
    scaler = StandardScaler().fit(features)
    expected = (
        Ridge(alpha=head.strength)
        .fit(scaler.transform(features), scores)
        .predict(scaler.transform(features))
    )
    np.testing.assert_allclose((features @ head.weight.T + head.bias)[:, 0], expected)
    assert np.corrcoef(expected, scores)[0, 1] > 0.9


def test_each_label_of_a_set_is_a_regression_of_its_own():
    features, labels = blobs()
    sets = np.stack([labels == 0, labels > 0, np.zeros(len(labels)), labels == 1], axis=1).astype(float)
    head = fit_label_set(features, sets)
    logits = features @ head.weight.T + head.bias
    assert ((logits > 0) == sets).mean() > 0.8 and (logits[:, 2] < -3).all()
    one = fit_classes(features, sets[:, 3].astype(int), 2)
    expected = features @ (one.weight[1] - one.weight[0]) + one.bias[1] - one.bias[0]
    np.testing.assert_allclose(logits[:, 3], expected)
