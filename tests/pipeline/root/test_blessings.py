"""Blessings and their changes by hand."""

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.changes import Change, Signature
from pipeline.root.blessings import change, is_blessed, model_of, was_blessed, withdrawal

ADA = Signature(by="ada", at="2026-11-26T22:45:24+00:00", reason='too "slow"')


def blessing(blessed: bool) -> mlmd.Artifact:
    made = mlmd.Artifact()
    made.custom_properties["blessed"].int_value = int(blessed)
    made.custom_properties["current_model_id"].int_value = 7
    return made


def test_a_blessing_is_withdrawn_and_restored() -> None:
    given = blessing(True)
    assert (model_of(given), is_blessed(given), withdrawal(given)) == (7, True, None)
    change(given, Change.WITHDRAWN, ADA)
    assert (is_blessed(given), was_blessed(given), withdrawal(given)) == (False, True, ADA)
    change(given, Change.RESTORED, ADA)
    assert (is_blessed(given), withdrawal(given)) == (True, None)


def test_what_the_gates_refused_was_not_withdrawn() -> None:
    refused = blessing(False)
    assert (is_blessed(refused), was_blessed(refused), withdrawal(refused)) == (False, False, None)
    change(refused, Change.FORCED, ADA)
    assert (is_blessed(refused), withdrawal(refused)) == (True, None)


def test_a_note_of_the_version_before_is_read() -> None:
    old = blessing(False)
    old.custom_properties["withdrawn"].string_value = '{"by": "ada", "at": "2026", "reason": ""}'
    assert withdrawal(old) == Signature(by="ada", at="2026", reason="")
