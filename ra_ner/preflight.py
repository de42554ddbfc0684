"""What is checked of tokenised rows before the first training step. Each finding is fatal and names the way out."""

from collections.abc import Collection, Iterable

from .errors import UserError


def check_vocabulary(tokenizer_size: int, embedding_size: int) -> None:
    """A token id beyond the embedding would crash the first step that meets it, or silently read other memory."""
    if tokenizer_size > embedding_size:
        raise UserError(
            f"the tokenizer has {tokenizer_size} tokens, the model's embedding {embedding_size}: they do not belong "
            "together; name the model that the tokenizer came with, or resize the embedding and save the model"
        )


def check_rows(
    rows: Iterable[dict[str, list[int]]],
    split: str,
    stop_ids: Collection[int],
    bos_id: int | None,
    max_length: int | None,
) -> None:
    """Check rows of `input_ids` and `labels` (-100 where nothing is trained), as the trainer will see them.

    Raises:
        UserError: a row has no trained token, would be cut by `max_length`, begins with two BOS tokens, or has an
            answer that does not end in a token of `stop_ids`, at which generation stops.
    """
    total, longest, too_long = 0, 0, 0
    for number, row in enumerate(rows, 1):
        ids, labels = row["input_ids"], row["labels"]
        total, longest = number, max(longest, len(ids))
        too_long += max_length is not None and len(ids) > max_length
        where = f"{split} row {number}"
        if bos_id is not None and ids[:2] == [bos_id, bos_id]:
            raise UserError(
                f"{where} begins with two BOS tokens: the chat template writes one and the tokenizer adds another; "
                "remove one of them"
            )
        answers = trained_runs(labels)
        if not answers:
            raise UserError(
                f"{where} has no trained token: it has no answer, or the chat template has no generation marks around "
                "the assistant's turns; mend the dataset or the template"
            )
        if any(stop_ids.isdisjoint(answer) for answer in map(frozenset, answers)):
            raise UserError(
                f"{where} has an answer whose end-of-turn token is not trained or is no stop token, so the model would "
                "never stop: set `eos_token` to the token that ends a turn, and put it inside the template's "
                "generation marks"
            )
    if too_long:
        raise UserError(
            f"{too_long} of {total} {split} rows are longer than `max_length: {max_length}` tokens and would lose "
            f"answers; the longest has {longest}: raise `max_length`, or build the dataset with a smaller `k`"
        )


def trained_runs(labels: list[int]) -> list[list[int]]:
    """The stretches of a row that are trained, one for each answer: labels without -100, cut where it stands."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != -100:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
