from __future__ import annotations

from turnout.training.multiple_choice import bare, instructed, questions

PROMPT = "Which river is longest?\nA. Nile\nB. Rhine\nC. Po\nD. Elbe\nE. Ebro"


def test_questions_need_enough_options_and_are_cut_to_as_many():
    (question,) = questions([PROMPT, "No options here", "Two?\nA. x\nB. y"], 4, seed=0)
    assert question.stem == "Which river is longest?"
    assert len(question.options) == 4
    assert set(question.options) < {"Nile", "Rhine", "Po", "Elbe", "Ebro"}


def test_bare_form_ends_in_answer_and_no_instructed_form_does():
    (question,) = questions([PROMPT], 4, seed=0)
    assert bare(question).endswith("\nAnswer:")
    assert bare(question).count("\n") == 5
    forms = {instructed(question, form) for form in range(4)}
    assert len(forms) == 4
    assert all("Answer:" not in form and all(option in form for option in question.options) for form in forms)
