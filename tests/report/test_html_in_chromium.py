"""The page in a real browser: sorting, filtering, another axis, links, keyboard, no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.report import pages
from support.chromium import chromium, drawn, opened, requested, violations, wait
from support.report_rows import PUBLISHED, bits, example, flipped, pruned, row

COMMITTED = Path(__file__).parents[2] / "reports" / "comparison.html"
BASE = bits(9000)
HOSTILE = "</script><script>top.pwned=1</script>\u2028<img src=x onerror=top.pwned=1> '+top.pwned+' datum[top]"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of handmade rows: pipelines that reduce the file size, the MACs, or only the accuracy."""
    folder = tmp_path_factory.mktemp("report")
    int4 = {"stage": "quantize", "scheme": "int4"}
    half = {"stage": "prune-filters", "fraction": 0.5}
    student = {"stage": "distill", "student_width": 0.25}
    both = [{"stage": "prune", "sparsity": 0.5}, int4]
    rows = [
        *(each for each in example() if each.data == "cifar10"),
        row(flipped(BASE, 55, 50, 5), [int4], file_bytes=75_000, gzip_bytes=66_000),
        row(flipped(BASE, 160, 80, 6), both, file_bytes=75_500, gzip_bytes=40_000),
        row(flipped(BASE, 300, 90, 7), [half], file_bytes=240_000, macs=9_000_000),
        row(flipped(BASE, 900, 50, 8), [student, int4], file_bytes=9_000, macs=1_300_000),
    ]
    pages.write_report(rows, [PUBLISHED], folder)
    return folder / "comparison.html"


@pytest.fixture(autouse=True)
def no_error_in_the_console(driver: Any) -> Iterator[None]:
    driver.get_log("browser")
    yield
    assert [e["message"] for e in driver.get_log("browser") if e["level"] != "INFO"] == []


def find(driver: Any, css: str) -> Any:
    return driver.find_element("css selector", css)


def cells(driver: Any, column: int) -> list[str]:
    """The texts of a column of the first table, from the top."""
    shown: list[str] = driver.execute_script(
        "return [...document.querySelector('.rows').tBodies[0].rows].filter(r => !r.hidden)"
        f".map(r => r.cells[{column}].textContent)"
    )
    return shown


def head(driver: Any, name: str) -> Any:
    heads = driver.find_elements("css selector", ".rows thead th")
    return next(h for h in heads if h.text.strip(" \u25b2\u25bc\n") == name)


def revealed(driver: Any) -> Any:
    """The element of the run that a link led to."""
    wait(driver, "document.querySelector(location.hash || 'main').open")
    return find(driver, driver.execute_script("return location.hash"))


def test_the_page_makes_no_network_request(driver: Any) -> None:
    driver.get("about:blank")  # the first page of the browser makes requests of its own
    requested(driver)
    opened(driver, COMMITTED)
    assert set(requested(driver)) - {"about:blank"} == {COMMITTED.as_uri()}


def test_the_answer_and_the_picture_are_at_the_top(driver: Any) -> None:
    opened(driver, COMMITTED)
    assert find(driver, "h1").text == "Which file would you ship?"
    assert find(driver, ".answer").text.startswith("Ship ")
    assert find(driver, ".plot svg").rect["y"] + find(driver, ".plot svg").rect["height"] < 800
    named = driver.execute_script(
        "return [...document.querySelectorAll('.bestname_marks text')].map(t => t.textContent).join(' ')"
    )
    assert find(driver, ".answer a").text.split()[0] in named


def test_a_column_sorts_by_number_in_both_directions(driver: Any, made: Path) -> None:
    opened(driver, made)
    file = head(driver, "File")
    column = driver.execute_script("return arguments[0].cellIndex", file)
    for order in ("ascending", "descending"):
        file.find_element("css selector", "button").click()
        assert file.get_attribute("aria-sort") == order
        shown = cells(driver, column)
        sizes = [float(s.split()[0]) for s in shown if s]
        assert sizes == sorted(sizes, reverse=order == "descending")
        assert "" not in shown[: len(sizes)]
    head(driver, "Model").find_element("css selector", "button").click()
    assert file.get_attribute("aria-sort") is None
    assert cells(driver, 0) == sorted(cells(driver, 0))


def test_a_filter_keeps_the_lines_that_have_its_words(driver: Any, made: Path) -> None:
    opened(driver, made)
    find(driver, ".filter").send_keys("int4 sparsity")
    assert cells(driver, 0) == ["prune --sparsity 0.5 quantize --scheme int4"]
    assert find(driver, ".count").text.startswith("1 of ")
    find(driver, ".filter").clear()


def test_one_click_shows_the_other_columns(driver: Any, made: Path) -> None:
    opened(driver, made)
    shown = [
        h.text for h in driver.find_elements("css selector", ".rows thead th") if h.is_displayed()
    ]
    assert len(shown) == 7
    button = find(driver, ".more-columns")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert head(driver, "MACs").is_displayed()


def test_another_axis_changes_answer_picture_and_ladder(driver: Any, made: Path) -> None:
    from selenium.webdriver.support.ui import Select

    opened(driver, made)
    axis = Select(find(driver, ".axis"))
    for option, words in (("gzip_bytes", "after gzip"), ("macs", "million")):
        before = find(driver, ".ladder").text
        axis.select_by_value(option)
        drawn(driver)
        title = find(driver, ".plot .role-axis-title text").text
        titles = [
            t.text for t in driver.find_elements("css selector", ".plot .role-axis-title text")
        ]
        assert any(words in t for t in titles), title
        assert find(driver, ".ladder").text != before
    assert "these 10,000 test images" in find(driver, ".answer").text


def test_every_link_leads_to_a_row_and_opens_it(driver: Any, made: Path) -> None:
    opened(driver, made)
    broken = driver.execute_script(
        "return [...document.querySelectorAll('a')].filter(a => !document.getElementById(a.hash.slice(1))).length"
    )
    assert broken == 0
    link = find(driver, ".rows tbody tr:nth-child(3) a")
    link.click()
    run = revealed(driver)
    assert run.find_element("css selector", "code").text.startswith("compress ")
    assert driver.execute_script("return document.activeElement.tagName") == "SUMMARY"


def test_a_click_on_a_point_opens_its_row(driver: Any, made: Path) -> None:
    opened(driver, made)
    find(driver, ".best_marks path").click()
    assert revealed(driver).is_displayed()


def test_the_copy_button_selects_the_command(driver: Any, made: Path) -> None:
    opened(driver, made)
    driver.execute_script("document.querySelector('.run').open = true")
    button = find(driver, ".copy")
    button.click()
    assert (
        driver.execute_script("return getSelection().toString()") == find(driver, ".run code").text
    )


def test_the_table_can_be_sorted_by_keyboard(driver: Any, made: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(driver, made)
    driver.execute_script("document.querySelector('.axis').focus()")
    reached = []
    for _ in range(20):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(driver.switch_to.active_element.get_attribute("class"))
        if reached[-1] == "sort":
            break
    assert [c for c in reached if c in ("filter", "more-columns", "scroll", "sort")] == [
        "filter", "more-columns", "scroll", "sort",
    ]  # fmt: skip
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert head(driver, "Model").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_fits_every_window_width(driver: Any, width: int) -> None:
    opened(driver, COMMITTED, width)
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert find(driver, ".plot svg").rect["width"] <= width


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1200, "dark")])
def test_axe_finds_no_accessibility_violation(driver: Any, width: int, scheme: str) -> None:
    opened(driver, COMMITTED, width, scheme)
    driver.execute_script(
        "document.querySelectorAll('.model, .run:nth-of-type(-n+3)').forEach(d => { d.open = true; })"
    )
    find(driver, ".more-columns").click()
    assert violations(driver) == []


def test_print_hides_the_controls(driver: Any) -> None:
    opened(driver, COMMITTED, 800)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not find(driver, ".filter").is_displayed()
    assert find(driver, ".rows").is_displayed()
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_hostile_text_is_shown_and_not_executed(driver: Any, tmp_path: Path) -> None:
    rows = [
        row(BASE, model_file=HOSTILE),
        pruned(flipped(BASE, 60, 50), file_bytes=90_000, label=HOSTILE, command=HOSTILE, model_file=HOSTILE),
        *example(),
    ]  # fmt: skip
    pages.write_report(rows, [PUBLISHED], tmp_path)
    requested(driver)
    opened(driver, tmp_path / "comparison.html")
    assert driver.execute_script("return top.pwned === undefined")
    assert not [url for url in requested(driver) if url.endswith("/x")]
    assert find(driver, ".answer").text.startswith("Ship </script><script>top.pwned=1</script>")
    assert len(driver.find_elements("css selector", ".plot svg")) == 2
