"""What runs the code blocks of pages: what it takes for a block, and that it notices mistakes."""

from __future__ import annotations

import pytest
from page_blocks import PageError, blocks_of
from page_runner import Page, commands, unknown_words
from shown_output import missing_line, same_line


def only(page):
    (block,) = blocks_of(page)
    return block


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Page(tmp_path, "page.md")

    def run(text):
        for block in blocks_of(text):
            made.run(block)
        return made

    return run


def test_a_block_has_its_language_text_line_and_comments():
    block = only("# Title\n\n<!-- not run: needs a GPU -->\n\n```sh\nls\n  pwd\n```\n")
    assert block == ("sh", "ls\n  pwd\n", 5, {"not run": "needs a GPU"})


def test_blocks_in_lists_and_directives_are_found_and_directives_are_none():
    page = (
        "- x\n\n  ```sh\n  ls\n  ```\n\n````{note}\n```python\n1\n```\n````\n```{toctree}\na\n```\n"
    )
    assert [(block.language, block.text) for block in blocks_of(page)] == [
        ("sh", "ls\n"),
        ("python", "1\n"),
    ]


def test_a_comment_counts_for_the_block_below_it_alone():
    first, second = blocks_of("<!-- fails: 2 -->\n```sh\nls\n```\ntext\n```sh\nls\n```\n")
    assert (first.says, second.says) == ({"fails": "2"}, {})


@pytest.mark.parametrize(
    "page",
    [
        "<!-- norun: x -->\n```sh\nls\n```\n",
        "<!-- not run -->\n```sh\nls\n```\n",
        "```sh\nls\n",
        "```{code-block} sh\nls\n```\n",
    ],
    ids=["unknown comment", "no reason", "not closed", "hidden code"],
)
def test_what_nobody_would_run_is_refused(page):
    with pytest.raises(PageError, match="line "):
        blocks_of(page)


def test_blocks_share_a_folder_a_namespace_and_files(page):
    page(
        "```sh\necho 3 > n\n```\n"
        "```python\nfrom pathlib import Path\nn = int(Path('n').read_text())\n```\n"
        "```python\nn += 1\n```\n"
        "<!-- file: m/x.json -->\n```json\n{}\n```\n"
        "```sh\ntest -f m/x.json\n```\n"
        "```python\nprint(n)\n```\n<!-- output -->\n```text\n4\n```\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nfalse\ntrue\n```\n",
        "```sh\nfalse | cat\n```\n",
        "```sh\necho $nothing\n```\n",
        "<!-- fails: 2 -->\n```sh\nexit 3\n```\n",
        "<!-- fails: 2 -->\n```sh\ntrue\n```\n",
        "```console\n$ echo 4\n5\n```\n",
        "```console\n5\n```\n",
        "```sh\necho 4\n```\n<!-- output -->\n```text\n5\n```\n",
        "```php\n1\n```\n",
    ],
)
def test_a_block_that_does_something_else_fails(text, page):
    with pytest.raises(AssertionError):
        page(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError),
        ("```json\n{\n```\n", ValueError),
        ("```toml\nname = \n```\n", ValueError),
        ("```toml\n[workload]\nrequest = 3\n[service]\n```\n", ValueError),
        ("<!-- part of bert -->\n```toml\n[service]\nserver = 2\n```\n", ValueError),
        ("<!-- part of mixed_sla -->\n```toml\n[service]\nserver = 2\n```\n", ValueError),
        ("<!-- part of bert-t4 -->\n```toml\n[service]\nserver = 2\n```\n", ValueError),
    ],
)
def test_a_block_that_is_wrong_fails(text, error, page):
    with pytest.raises(error):
        page(text)


def test_a_part_of_a_scenario_is_laid_over_it(page):
    page("<!-- part of bert -->\n```toml\n[service]\nservers = 2\n"
         "[workload]\narrivals = { process = \"paced\", load = 0.3 }\n```\n")  # fmt: skip


@pytest.mark.parametrize("source", ["mixed_sla", "cluster_8", "bert-t4"])
def test_a_scenario_of_any_name_may_have_a_part_laid_over_it(source, page):
    page(f"<!-- part of {source} -->\n```toml\n[workload]\nrequests = 3\n```\n")


def test_commands_of_a_console_go_on_behind_a_sign():
    assert commands("$ a \\\n>   b\nout\n> more\n$ c\n") == [
        ("a \\\n  b\n", "out\n> more\n"),
        ("c\n", ""),
    ]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("p99 9.3 ± 0.1 ms", "p99   9.31 ± 0.12 ms"),
        ("1,234 requests", "1,240 requests"),
        ("a ... d", "a b c d"),
        ("took ...", "took 3.2 s"),
        ("─────", "────────"),
        ("-2.6", "-2.61"),
        ("9.3", "9.4"),
    ],
)
def test_small_differences_are_none(shown, printed):
    assert same_line(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("p99 9.3 ms", "p99 9.9 ms"),
        ("p99 9.3 ms", "p50 9.3 ms"),
        ("batches of 6", "batches of 7"),
        ("-2.6", "2.6"),
        ("a b", "a b c"),
        ("a ... e", "a b c d"),
        ("± 0.1", "± 1.1"),
        ("tie", "+0.1"),
    ],
)
def test_other_differences_are_seen(shown, printed):
    assert not same_line(shown, printed)


def test_lines_are_looked_for_in_their_order():
    printed = "one\ntwo\nthree\n"
    assert missing_line("one\n\n...\nthree\n", printed) is None
    assert missing_line("two\none\n", printed) == "one"
    assert missing_line("four\n", printed) == "four"


@pytest.mark.parametrize(
    ("script", "unknown"),
    [
        ("batchwright compare bert --set a.b=1 -q  # all\n", []),
        ("make demo\nbatchwright profile measure --hf ./x \\\n  --budget=5m\n", []),
        ("batchwright --version && batchwright compair x", ["compair"]),
        ("batchwright profile measure --bugdet 5m", ["profile measure --bugdet"]),
        ("batchwright profile mesure", ["profile mesure"]),
    ],
)
def test_commands_that_are_not_run_are_read(script, unknown):
    assert unknown_words(script) == unknown
