import functools
import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kpipe.datasets.samples.sentences import _NEWS, _REVIEWS, _TWEETS, news, reviews, tweets

SETS = pytest.mark.parametrize(
    ("write", "shares"),
    [(reviews, [0.5, 0.5]), (news, [0.25] * 4), (tweets, [0.37, 0.36, 0.27])],
    ids=["reviews", "news", "tweets"],
)
GOOD = {word[0] for k in range(1, 5) for word in _REVIEWS[f"adj {k}"]}
BAD = {word[0] for k in range(1, 5) for word in _REVIEWS[f"adj -{k}"]}
NOT = "(?:not|far from|anything but|hardly|never|by no means)"


@functools.cache
def many(write, seed=0):
    """4,000 texts and their labels, written once for all tests."""
    texts, labels = write(4000, seed)
    return tuple(texts), labels


def words(texts):
    return np.array([len(text.split()) for text in texts])


@pytest.mark.parametrize("rules", [_REVIEWS, _NEWS, _TWEETS], ids=["reviews", "news", "tweets"])
def test_grammars_name_no_rule_that_is_missing(rules):
    known = set(rules) | {rule.split(" ", 1)[0] for rule in rules}
    # Other braces contain two words, or two digits, of which one is written unchanged.
    for options in rules.values():
        for option in options:
            for name in option[1::2]:
                rule = name.removeprefix("-")
                assert "/" in name or rule[0].lower() + rule[1:] in known, name


@SETS
@pytest.mark.parametrize("count", [0, 1, 7, 1003])
def test_shapes_types_and_shares(write, shares, count):
    texts, labels = write(count)
    assert len(texts) == count
    assert all(isinstance(text, str) and text for text in texts)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    sizes = np.bincount(labels, minlength=len(shares))
    np.testing.assert_allclose(sizes, count * np.array(shares), atol=1)


@SETS
def test_the_order_is_random(write, shares):
    _, labels = many(write)
    assert (labels[1:] == labels[:-1]).mean() == pytest.approx(np.square(shares).sum(), abs=0.04)


@SETS
def test_the_same_seed_writes_the_same_texts(write, shares):
    texts, labels = write(300, seed=3)
    again, labels_again = write(300, seed=3)
    assert texts == again
    np.testing.assert_array_equal(labels, labels_again)


@SETS
def test_another_seed_writes_other_texts_of_the_same_distribution(write, shares):
    texts, others = many(write)[0][:2000], many(write, seed=1)[0][:2000]
    assert len(set(texts) & set(others)) < 0.03 * len(texts)
    assert len(set(texts)) > 0.98 * len(texts)
    assert words(texts).mean() == pytest.approx(words(others).mean(), rel=0.1)


@pytest.mark.parametrize(
    ("write", "count", "lowest", "highest"),
    [(reviews, 1600, 0.77, 0.9), (news, 1600, 0.8, 0.94), (tweets, 1500, 0.63, 0.8)],
    ids=["reviews", "news", "tweets"],
)
def test_bags_of_words_tell_most_labels_but_not_all(write, count, lowest, highest):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(*(part[:count] for part in many(write)))
    assert lowest < model.score(*(part[:1000] for part in many(write, seed=1))) < highest


@SETS
def test_nothing_is_left_of_the_grammar(write, shares):
    for text in many(write)[0][:1000]:
        assert not re.search(r"[{}|]|\b[Aa] [aeiou]|  | [,.]", text), text
        assert text == text.strip()


# --- reviews ----------------------------------------------------------------------------------


def test_reviews_differ_much_in_length():
    lengths = words(many(reviews)[0])
    tenth, median, ninetieth = np.percentile(lengths, [10, 50, 90])
    assert ninetieth > 3 * tenth
    assert 45 < median < 75
    assert 0 < (lengths > 390).mean() < 0.05


def test_an_adjective_of_a_review_says_the_opposite_when_negated():
    texts, labels = many(reviews)
    sides = {"not": {True: [], False: []}, "": {True: [], False: []}}
    for text, label in zip(texts, labels, strict=True):
        for negation, word in re.findall(rf"\b({NOT} |really |truly )([a-z]+)", text):
            if word in GOOD | BAD:
                negated = "" if negation in ("really ", "truly ") else "not"
                sides[negated][word in GOOD].append(label)
    assert np.mean(sides[""][True]) > 0.6 > 0.4 > np.mean(sides[""][False])
    assert np.mean(sides["not"][True]) < 0.3 < 0.7 < np.mean(sides["not"][False])


def test_the_main_clause_of_a_verdict_outweighs_its_concession():
    # Both a good and a bad word are there; the second one is the label.
    good = {noun[0] for k in range(1, 5) for noun in _REVIEWS[f"noun {k}"]}
    found = []
    for text, label in zip(*many(reviews), strict=True):
        for nouns in re.findall(r"could have been an? (.+?), but it is an? (.+?)\.", text):
            found.append([*(noun in good for noun in nouns), label == 1])
    first, second, positive = np.transpose(found)
    assert len(found) > 100
    np.testing.assert_array_equal(second, positive)
    np.testing.assert_array_equal(first, ~positive)


def test_reviews_have_breaks_as_imdb_has():
    share = np.mean(["<br /><br />" in text for text in many(reviews)[0]])
    assert 0.2 < share < 0.6


def test_men_and_women_keep_their_words_within_a_sentence():
    he, she = {"king", "father", "brother", "uncle", "his"}, {"queen", "mother", "aunt", "her"}
    texts, _ = many(reviews)
    assert (he | she) <= set(re.findall("[a-z]+", " ".join(texts)))
    for sentence in re.findall(r"[Mm]eanwhile [^.]+", " ".join(texts)):
        found = set(sentence.split())
        assert ("uncle" in found) == ("he" in found) != ("aunt" in found) == ("she" in found)


# --- news -------------------------------------------------------------------------------------


def test_news_are_short_and_a_few_have_residues_as_ag_news_has():
    texts, _ = many(news)
    tenth, ninetieth = np.percentile(words(texts), [10, 90])
    assert 15 < tenth < 30 < ninetieth < 55
    for residue in (" #39;s ", " quot;", "\\"):
        assert 0.01 < np.mean([residue in text for text in texts]) < 0.3


def test_countries_and_companies_occur_in_every_topic():
    texts, labels = many(news)
    for name in ("Norway", "Nortek"):
        assert set(labels[[name in text for text in texts]]) == {0, 1, 2, 3}


# --- tweets -----------------------------------------------------------------------------------


def test_tweets_are_short_and_noisy():
    texts, _ = many(tweets)
    assert words(texts).min() >= 3
    assert np.percentile(words(texts), 99) <= 30
    for sign in ("@", " #", "http://", "😊|😢", "(sooo|reallyyy|nooo)", r"\bnot\b"):
        assert 0.01 < np.mean([bool(re.search(sign, text)) for text in texts]) < 0.5, sign


def test_some_labels_of_tweets_are_random():
    # Nothing but wrong labels keeps a broken heart from being sad: 0.15 times 0.73 of them.
    texts, labels = tweets(12_000)
    sad = labels[["broke my heart" in text.lower() for text in texts]]
    assert len(sad) > 100
    assert (sad == 2).mean() == pytest.approx(0.89, abs=0.07)
