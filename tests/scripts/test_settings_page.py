"""The page of settings is what its script would write today."""

from settings_page import MARK, PAGE, page

from pipeline.definition.settings import all_settings


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run `python scripts/settings_page.py`"


def test_the_page_has_every_setting_and_keeps_what_is_written_by_hand() -> None:
    text = page(f"By hand.\n\n{MARK}\nold")
    assert text.startswith(f"By hand.\n\n{MARK}\n\n## seed\n")
    assert "old" not in text.split()
    for name in all_settings():
        assert f"\n| `{name}` |" in text
