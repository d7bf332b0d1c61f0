import pytest

from models.evaluation.progress import shown_progress


def test_without_a_terminal_each_step_says_once_that_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown_progress() as on_progress:
        for done in (0, 1, 2, 2):
            on_progress("pictures", done, 2)
        on_progress("frames", 1, 3)
    assert capsys.readouterr().err == "pictures: 2 of 2\n"
