"""What a retrieval asked for and found: how many at most, how many there were, and how good the best of them was.

Source: the conventions' `gen_ai.retrieval.top_k` and `gen_ai.retrieval.documents`; OpenInference's numbered documents;
databases' semantic conventions; OpenLLMetry's vector databases; and what people write by hand.
"""

from collections.abc import Iterable, Mapping

from service.ingest.kernel.constants import LISTED_MAX
from service.ingest.vocabulary import HITS, SCORE, TOP_K, Dialect


def _documents(document: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    """Of the list that the conventions write as JSON: how many there are, and the best score."""
    found = document.get("")
    if not isinstance(found, list):
        return
    yield HITS, len(found)
    scores = [
        each.get("score", each.get("gen_ai.retrieval.document.score")) for each in found if isinstance(each, dict)
    ]
    known = [float(score) for score in scores if isinstance(score, int | float) and score >= 0]
    if known:
        yield SCORE, max(known)


_EACH = "retrieval.documents.{}.document."
_CONTENTS = tuple(f"{_EACH.format(place)}content" for place in range(LISTED_MAX))
_SCORES = tuple(f"{_EACH.format(place)}score" for place in range(LISTED_MAX))

DIALECT = Dialect(
    name="retrieved",
    precedence=56,
    fields={
        HITS: (
            "gen_ai.retrieval.hits",
            "gen_ai.retrieval.results.count",
            "gen_ai.retrieval.documents.count",
            "retrieval.hits",
            "retrieval.hit_count",
            "retrieval.num_results",
            "retrieval.result_count",
            "retrieval.results_count",
            "retrieval.results.count",
            "retrieval.documents.count",
            "retrieval.document_count",
            "db.response.returned_rows",
            "hits",
            "num_results",
            "result_count",
        ),
        TOP_K: (
            "gen_ai.retrieval.top_k",
            "retrieval.top_k",
            "retriever.top_k",
            "db.vector.query.top_k",
            "db.query.top_k",
            "vector_db.top_k",
            "top_k",
        ),
        SCORE: (
            "gen_ai.retrieval.top_score",
            "retrieval.top_score",
            "retrieval.max_score",
            "retrieval.score",
            "retrieval.best_score",
            _SCORES[0],
            "top_score",
        ),
    },
    listed={name: place for names in (_CONTENTS, _SCORES) for place, name in enumerate(names, 1) if name != _SCORES[0]},
    documents={"gen_ai.retrieval.documents": _documents},
    content=_CONTENTS,
)
