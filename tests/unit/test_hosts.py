"""Where addresses lead, as a browser would see it."""

import time

import pytest

from approvals.hosts import as_seen, hosts
from approvals.presentation import rows, with_hosts


def found(text):
    return [text[each.start : each.end] for each in hosts(text)]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://example.com/a?b#c", "example.com"),
        ("see HTTP://Example.com.", "Example.com"),
        ("(https://example.com)", "example.com"),
        ("https://example.com:8080/x", "example.com"),
        ("https://google.com@evil.com/", "evil.com"),
        ("https://google.com%2F@evil.com", "evil.com"),
        ("https://a@b@evil.com", "evil.com"),
        ('https://google.com"x@evil.com', "evil.com"),
        ("https://evil.com\\@google.com", "evil.com"),
        ("https:\\\\evil.com\\@google.com", "evil.com"),
        ("https:evil.com", "evil.com"),
        ("https:///evil.com", "evil.com"),
        ("https://evil.com?@google.com", "evil.com"),
        ("https://evil.com#@google.com", "evil.com"),
        ("https://[::1]:80/", "[::1]"),
        ("ssh://git@example.com/repo", "example.com"),
        ("https://google.com.evil.com/google.com", "google.com.evil.com"),
    ],
)
def test_it_finds_the_host_that_a_browser_would(text, host):
    assert found(text) == [host]


def test_it_finds_all_of_a_text():
    assert found("https://a.com, https://b.org/x and ftp://c.net") == ["a.com", "b.org", "c.net"]


@pytest.mark.parametrize(
    "text", ["no address", "a: b", "https://", "at 10:30", "C:\\Users", "mail to a@b.com", "std::vector"]
)
def test_it_finds_none_where_there_is_none(text):
    assert hosts(text) == []


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("Example.COM", "example.com"),
        ("ex%61mple.com", "example.com"),
        ("\uff45xample\u3002com", "example.com"),
        ("\u0430pple.com", "xn--pple-43d.com"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("999.999.999.999", ""),
        ("a b", ""),
        ("x" * 300, ""),
    ],
)
def test_it_sees_what_a_browser_sees(host, seen):
    assert as_seen(host) == seen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://google.com@evil.com/", "leads to evil.com: what stands before the @"),
        ("https://\u0430pple.com/", "leads to xn--pple-43d.com"),
        ("https://xn--pple-43d.com/", "stands for a name in other letters"),
        ("http://2130706433/", "leads to 127.0.0.1"),
        ("https://example.com/", ""),
    ],
)
def test_it_says_where_an_address_leads_that_looks_like_another(text, words):
    [host] = hosts(text)
    assert words in host.warning
    assert bool(words) == bool(host.warning)
    assert host.warning.isascii(), "what it says is shown as it is"


def test_it_claims_nothing_of_an_address_that_goes_on_and_on():
    [host] = hosts("https://google.com" + "x" * 3000 + "@evil.com")
    assert "may read in different ways" in host.warning


def test_hosts_stand_out_and_nothing_is_a_link():
    html = with_hosts('<a href="https://evil.com/x">')
    assert html == '&lt;a href=&quot;https://<b class="host">evil.com</b>/x&quot;&gt;'


def test_what_deceives_stays_marked_inside_a_host():
    assert '<b class="host"><mark>U+0430 \u0430</mark>pple.com</b>' in with_hosts("https://\u0430pple.com")


def test_rows_mark_hosts_in_texts_lists_and_json():
    url = "https://google.com@evil.com/"
    for row in rows({"line": url, "text": f"a\n{url}", "list": [url], "json": {"u": url}}):
        html = row.html or row.items[0]
        assert '<b class="host">evil.com</b>' in html
        assert "leads to evil.com" in row.warning


@pytest.mark.parametrize("text", ["https:", "https://a@", "x+", "https://[", "a://b@@@@", "ftp:\\"])
def test_it_takes_time_in_proportion_to_the_text(text):
    began = time.process_time()
    hosts(text * (64_000 // len(text)))
    hosts("https://" + text * (64_000 // len(text)))
    assert time.process_time() - began < 2
