"""Which parts of a document belong to the story, and which are left out."""

import pytest

from stories.records import Record, Reject
from tests.unit.stories import documents
from tests.unit.stories.material import Lines, only_record, only_reject, prose, read, zipped

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def titles(lines: Lines) -> list[str]:
    """Return the titles of the stories."""
    return [line.title for line in lines if isinstance(line, Record)]


def told(lines: Lines) -> str:
    """Return the words of all stories."""
    return "\n\n".join(line.text for line in lines if isinstance(line, Record))


def rejected(lines: Lines) -> dict[str | None, Reject]:
    """Return the rejects by entry."""
    return {line.entry: line for line in lines if isinstance(line, Reject)}


def page(body: str, head: str = "") -> bytes:
    """Make a web page."""
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>".encode()


def paragraphs(seed: int, words: int = 120) -> str:
    """Make paragraphs of HTML."""
    return "".join(f"<p>{part}</p>" for part in prose(seed, words).split("\n\n"))


def word(body: str, styles: str = "", footnotes: str = "") -> bytes:
    """Make a Word document of the XML of its body."""
    parts = {
        "word/document.xml": f'<w:document xmlns:w="{_W}"><w:body>{body}</w:body></w:document>'.encode(),
        "word/styles.xml": f'<w:styles xmlns:w="{_W}">{styles}</w:styles>'.encode(),
        "word/footnotes.xml": f'<w:footnotes xmlns:w="{_W}">{footnotes}</w:footnotes>'.encode(),
    }
    return documents.docx("", extra=parts)


def run(text: str) -> str:
    """Make a run of a Word document."""
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def office(body: str) -> bytes:
    """Make a LibreOffice text of the XML of its body."""
    content = (
        f'<office:document-content xmlns:office="{_ODF}:office:1.0" xmlns:text="{_ODF}:text:1.0">'
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    return zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": content.encode()})


def ebook(
    pages: dict[str, str],
    *,
    spine: str = "",
    guide: str = "",
    ncx: str = "",
    encrypted: tuple[str, str] | None = None,
) -> bytes:
    """Make an e-book of the bodies of its pages; `encrypted` is a path and an algorithm."""
    items = "".join(
        f'<item id="{name}" href="text/{name}.xhtml" media-type="application/xhtml+xml"/>' for name in pages
    )
    items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    references = spine or "".join(f'<itemref idref="{name}"/>' for name in pages)
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>{items}</manifest>'
        f'<spine toc="ncx">{references}</spine><guide>{guide}</guide></package>'
    )
    files = {
        "mimetype": b"application/epub+zip",
        "OEBPS/content.opf": package.encode(),
        "OEBPS/toc.ncx": (
            '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
            f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{ncx}</navMap></ncx>'
        ).encode(),
        "META-INF/container.xml": (
            b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            b'<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
        ),
    }
    files |= {
        f"OEBPS/text/{name}.xhtml": (
            '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml" '
            f'xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head><body>{body}</body></html>'
        ).encode()
        for name, body in pages.items()
    }
    if encrypted:
        path, algorithm = encrypted
        files["META-INF/encryption.xml"] = (
            '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
            'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
            f'<enc:EncryptionMethod Algorithm="{algorithm}"/>'
            f'<enc:CipherData><enc:CipherReference URI="{path}"/></enc:CipherData>'
            "</enc:EncryptedData></encryption>"
        ).encode()
    return zipped(files)


def point(name: str, title: str) -> str:
    """Make an entry of an e-book's contents."""
    return f'<navPoint><navLabel><text>{title}</text></navLabel><content src="text/{name}.xhtml"/></navPoint>'


class TestWebPages:
    def test_what_frames_the_page_is_not_read(self) -> None:
        body = (
            "<header><h1>Blog of Blogs</h1></header><nav><a>Home</a></nav><script>let x = 1</script>"
            f"<article><header><h1>The Goose</h1></header>{paragraphs(1)}</article>"
            "<aside>Buy my book</aside><footer>© 2026</footer>"
        )
        record = only_record(read("goose.html", page(body)))
        assert record.title == "The Goose"
        assert record.text == prose(1, 120)

    def test_only_a_script(self) -> None:
        reject = only_reject(read("app.html", page("<div id=app></div><script>run()</script>")))
        assert "no text of its own" in reject.reason
        assert "browser" in reject.cure

    def test_line_breaks_stay_lines_and_source_lines_do_not(self) -> None:
        body = f"<p>The lamp<br>\n went out,<br/>and so\n did I.</p>{paragraphs(2)}"
        assert only_record(read("verse.html", page(body))).text.startswith(
            "The lamp\nwent out,\nand so did I."
        )

    def test_typography_stays(self) -> None:
        body = f"<p>“It\u2019s&nbsp;late&#8202;—&#8202;go,” she said&hellip;</p>{paragraphs(2)}"
        text = only_record(read("quotes.html", page(body))).text
        assert text.startswith("“It\u2019s\u00a0late\u200a—\u200ago,” she said…")

    def test_the_declared_encoding_counts(self) -> None:
        content = page(f"<p>Žluťoučký kůň</p>{paragraphs(3)}", "<meta charset=windows-1250>")
        record = only_record(read("kun.html", content.decode().encode("cp1250")))
        assert record.title == "Žluťoučký kůň"

    def test_headings_below_the_title_are_chapters(self) -> None:
        body = f"<h1>Book</h1><h2>The Sea</h2>{paragraphs(4)}<h2>The Land</h2>{paragraphs(5)}"
        lines = read("book.html", page(body))
        assert titles(lines) == ["The Sea", "The Land"]
        assert len({line.work for line in lines if isinstance(line, Record)}) == 1

    def test_headings_over_a_few_words_are_not(self) -> None:
        body = "".join(f"<h2>Step {name}</h2><p>Stir it {name} times.</p>" for name in ("a", "b", "c", "d"))
        assert len(titles(read("recipe.html", page(f"<h1>Soup</h1>{paragraphs(4)}{body}")))) == 1

    def test_footnotes_are_left_out_and_said_to_be(self) -> None:
        body = (
            f'{paragraphs(6)}<p>The end<a role="doc-noteref" href="#n">1</a>.</p>'
            '<section role="doc-endnotes"><p>A note.</p></section>'
        )
        lines = read("notes.html", page(body))
        assert told(lines).endswith("The end.")
        assert rejected(lines)["footnotes"].characters == len("A note.")


class TestEBooks:
    def test_pages_come_in_the_order_of_the_spine(self) -> None:
        pages = {"b": f"<h2>Two</h2>{paragraphs(2)}", "a": f"<h2>One</h2>{paragraphs(1)}"}
        spine = '<itemref idref="a"/><itemref idref="b"/>'
        assert titles(read("book.epub", ebook(pages, spine=spine))) == ["One", "Two"]

    def test_contents_name_pages_without_headings_and_the_rest_goes_on(self) -> None:
        pages = {"a": paragraphs(1), "a2": paragraphs(2), "b": paragraphs(3)}
        lines = read("book.epub", ebook(pages, ncx=point("a", "The Sea") + point("b", "The Land")))
        assert titles(lines) == ["The Sea", "The Land"]
        assert told(lines) == "\n\n".join(prose(seed, 120) for seed in (1, 2, 3))

    def test_title_page_cover_and_pages_beside_the_story_are_left_out(self) -> None:
        pages = {
            "cover": "<p>Cover</p>",
            "front": '<section epub:type="titlepage"><p>A Book by Nobody</p></section>',
            "a": f"<h2>One</h2>{paragraphs(1)}",
            "b": f"<h2>Two</h2>{paragraphs(2)}",
            "extra": paragraphs(7),
        }
        spine = "".join(f'<itemref idref="{name}"/>' for name in ("cover", "front", "a", "b"))
        guide = '<reference type="cover" href="text/cover.xhtml"/>'
        content = ebook(pages, spine=spine + '<itemref idref="extra" linear="no"/>', guide=guide)
        lines = read("book.epub", content)
        assert titles(lines) == ["One", "Two"]
        left_out = rejected(lines)["pages around the story"]
        assert left_out.characters == len("Cover") + len("A Book by Nobody")

    def test_a_number_and_a_name_are_one_heading(self) -> None:
        pages = {
            "a": f'<hgroup><h2>I</h2><p epub:type="title">The Sea</p></hgroup>{paragraphs(1)}',
            "b": f"<h2>Chapter II</h2><h3>The Land</h3>{paragraphs(2)}",
        }
        assert titles(read("book.epub", ebook(pages))) == ["I: The Sea", "Chapter II: The Land"]

    def test_copy_protection(self) -> None:
        protected = ebook(
            {"a": paragraphs(1)},
            encrypted=("OEBPS/text/a.xhtml", "http://www.w3.org/2001/04/xmlenc#aes128-cbc"),
        )
        reject = only_reject(read("bought.epub", protected))
        assert "DRM" in reject.reason
        assert "manuscript" in reject.cure

    def test_scrambled_fonts_are_no_copy_protection(self) -> None:
        content = ebook(
            {"a": paragraphs(1)}, encrypted=("OEBPS/font.otf", "http://www.idpf.org/2008/embedding")
        )
        assert only_record(read("book.epub", content)).text == prose(1, 120)

    def test_only_pictures(self) -> None:
        reject = only_reject(read("comic.epub", ebook({"a": '<img src="page.jpg"/>'})))
        assert "pictures" in reject.reason


class TestWordDocuments:
    def test_tracked_changes(self) -> None:
        body = (
            f"<w:p>{run(prose(1, 60))}</w:p><w:p>{run('The ')}<w:ins>{run('grey ')}</w:ins>"
            f"<w:del><w:r><w:delText>black </w:delText></w:r></w:del>{run('goose left.')}</w:p>"
        )
        assert only_record(read("story.docx", word(body))).text.endswith("\n\nThe grey goose left.")

    @pytest.mark.parametrize(
        "style",
        [
            '<w:style w:styleId="K"><w:name w:val="heading 1"/></w:style>',
            '<w:style w:styleId="K"><w:name w:val="Mine"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>',
            '<w:style w:styleId="K"><w:name w:val="Mine"/><w:basedOn w:val="H"/></w:style>'
            '<w:style w:styleId="H"><w:name w:val="heading 1"/></w:style>',
            '<w:style w:styleId="K"><w:name w:val="Mine"/><w:basedOn w:val="K"/>'
            '<w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>',
        ],
        ids=["by name", "by outline", "by its parent", "its own parent"],
    )
    def test_headings(self, style: str) -> None:
        body = "".join(
            f'<w:p><w:pPr><w:pStyle w:val="K"/></w:pPr>{run(title)}</w:p><w:p>{run(prose(seed, 120))}</w:p>'
            for seed, title in enumerate(("The Sea", "The Land"))
        )
        assert titles(read("story.docx", word(body, style))) == ["The Sea", "The Land"]

    def test_chapters_that_are_only_typed(self) -> None:
        body = "".join(
            f"<w:p>{run(f'Chapter {number}')}</w:p><w:p>{run(prose(number, 120))}</w:p>" for number in (1, 2)
        )
        assert titles(read("story.docx", word(body))) == ["Chapter 1", "Chapter 2"]

    def test_footnotes_and_lines(self) -> None:
        body = f"<w:p>{run(prose(1, 60))}</w:p><w:p>{run('One,')}<w:r><w:br/></w:r>{run('two.')}</w:p>"
        notes = '<w:footnote w:type="separator"><w:p/></w:footnote>'
        notes += f"<w:footnote><w:p>{run('A note.')}</w:p></w:footnote>"
        lines = read("story.docm", word(body, footnotes=notes))
        assert told(lines).endswith("One,\ntwo.")
        assert rejected(lines)["footnotes"].characters == len("A note.")


class TestLibreOfficeTexts:
    def test_spaces_lines_deletions_and_notes(self) -> None:
        body = (
            "<text:tracked-changes><text:changed-region><text:deletion><text:p>Gone.</text:p></text:deletion>"
            f"</text:changed-region></text:tracked-changes><text:p>{prose(1, 60)}</text:p>"
            "<text:p>A<text:s/>goose<text:line-break/>and\n  another"
            "<text:note><text:note-citation>1</text:note-citation>"
            "<text:note-body><text:p>A note.</text:p></text:note-body></text:note>.</text:p>"
        )
        lines = read("story.odt", office(body))
        assert told(lines).endswith("\n\nA goose\nand another.")
        assert "Gone" not in told(lines)
        assert rejected(lines)["footnotes"].characters == len("A note.")

    def test_headings_are_chapters(self) -> None:
        body = "".join(
            f'<text:h text:outline-level="1">{title}</text:h><text:p>{prose(seed, 120)}</text:p>'
            for seed, title in enumerate(("The Sea", "The Land"))
        )
        assert titles(read("story.odt", office(body))) == ["The Sea", "The Land"]


class TestRichText:
    def test_lines_paragraphs_and_letters(self) -> None:
        content = (
            rb"{\rtf1\ansi\ansicpg1250{\fonttbl{\f0\fcharset238 Times;}}\f0 "
            + prose(1, 60).replace("\n\n", "\\par ").encode()
            + rb"\par \'8eluv\'fd k\'f9\'f2,\line \u8220?late\u8221?\emdash .\par}"
        )
        assert only_record(read("story.rtf", content)).text.endswith("\n\nŽluvý kůň,\n“late”—.")

    def test_pictures_are_no_text(self) -> None:
        picture = b"{\\pict\\pngblip " + b"89504e47" * 5000 + b"}"
        content = b"{\\rtf1 " + picture + prose(1, 60).encode().replace(b"\n\n", b"\\par ") + b"}"
        assert only_record(read("story.rtf", content)).text == prose(1, 60)

    def test_a_table_of_fonts_made_to_be_slow(self) -> None:
        fonts = b"{\\fonttbl" + b"\\f1" * 3000 + b" \\fcharset0" * 3000 + b"}"
        content = b"{\\rtf1 " + fonts + prose(1, 60).encode().replace(b"\n\n", b"\\par ") + b"}"
        assert only_record(read("story.rtf", content)).text == prose(1, 60)
