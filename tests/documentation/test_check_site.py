"""The links of a built site: each dead one is named, the others are not."""

import check_site


def test_dead_links_are_named(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "picture one.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(
        '<a href="sub/page.html#here">1</a><a href="sub/page.html#gone">2</a><a href="#gone">3</a>'
        '<img src="picture%20one.png"><script src="gone.js"></script><a href="https://example.org/gone">4</a>'
    )
    (tmp_path / "sub" / "page.html").write_text('<p id="here"><a href="../index.html">5</a><a href="gone.html">6</a>')
    assert check_site.dead_links(tmp_path) == [
        "index.html: sub/page.html#gone",
        "index.html: #gone",
        "index.html: gone.js",
        "sub/page.html: gone.html",
    ]
