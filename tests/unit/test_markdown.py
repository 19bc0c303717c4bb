"""A model's words never become anything but words."""

import pytest

from agents.presentation import markdown


def test_it_renders_what_models_write():
    html = markdown("**bold** and `code`\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~no~~")
    for part in ("<strong>bold</strong>", "<code>code</code>", "<li>one</li>", "<td>1</td>", "<s>no</s>"):
        assert part in html


def test_it_keeps_line_breaks():
    assert "one<br>" in markdown("one\ntwo")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)" onclick="x()">a</a>',
        "<style>*{display:none}</style>",
        '<p style="position:fixed" class="bar" id="bar">x</p>',
        "<iframe src=//evil.example></iframe>",
        "<form action=/logout/><button>x</button></form>",
    ],
)
def test_it_shows_html_as_text(text):
    html = markdown(text)
    assert "&lt;" in html
    assert "<p>" in html
    for tag in ("<script", "<img", "<a ", "<style", "<iframe", "<form", "<button", "<p "):
        assert tag not in html


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "//evil.example",
        "/logout/",
    ],
)
def test_it_drops_links_that_do_something_here(target):
    assert "href" not in markdown(f"[click]({target})")


@pytest.mark.parametrize(
    "target", ["https://example.com/a?b=c", "http://example.com", "mailto:dev@example.com"]
)
def test_it_keeps_safe_links_and_gives_them_no_power(target):
    assert f'<a href="{target}" rel="noopener nofollow">click</a>' in markdown(f"[click]({target})")


def test_it_never_loads_a_picture():
    html = markdown("![a cat](https://evil.example/pixel.png?secret)")
    assert "<img" not in html
    assert '<a href="https://evil.example/pixel.png?secret" rel="noopener nofollow">a cat</a>' in html


def test_it_shows_a_picture_in_a_link_as_its_words():
    html = markdown("[![a cat](https://evil.example/p.png)](https://example.com)")
    assert html.count("<a ") == 1
    assert ">a cat</a>" in html


def test_it_drops_a_picture_with_a_script_for_an_address():
    assert "href" not in markdown("![x](javascript:alert(1))")


def test_it_keeps_a_fence_without_its_class():
    assert "<pre><code>x = 1\n</code></pre>" in markdown("```python onload=x\nx = 1\n```")


def test_it_survives_a_very_long_text():
    assert markdown("> " * 5000 + "x")
    assert "<pre>" in markdown("a" * 200_001)


def test_it_shows_what_deceives_in_words_and_in_code():
    html = markdown("pay \u202e`b\u200bc` <\u00a0> [x](https://example.com/a\u202eb)\n\n    d\u00ade")
    for code in (
        "U+202E",
        "<code>b<mark>U+200B</mark>c</code>",
        "&lt;<mark>U+00A0</mark>&gt;",
        "d<mark>U+00AD</mark>e",
    ):
        assert code in html
    assert 'href="https://example.com/a%E2%80%AEb"' in html


def test_a_mark_makes_no_markup_of_what_stands_beside_it():
    html = markdown("\u202e&lt;img src=x onerror=pwned()> a > b &amp;lt; 'c' \"d\"")
    assert html.startswith("<p><mark>U+202E</mark>&lt;img src=x onerror=pwned()&gt; a &gt; b &amp;lt; ")
    assert "<img" not in html
