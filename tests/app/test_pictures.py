"""Pictures of the page, which are in memory and at addresses that nobody guesses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pti_hub.app.pictures import Pictures


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
def browser(pictures: Pictures) -> TestClient:
    return TestClient(Starlette(routes=[pictures.route]))


def test_addresses_are_long_and_never_the_same(pictures: Pictures) -> None:
    addresses = {pictures.put("me", "face", b"same", "image/jpeg") for _ in range(200)}
    assert len(addresses) == 200
    assert all(len(address.rpartition("/")[2]) >= 32 for address in addresses)
    assert len({address[:14] for address in addresses}) > 150  # they differ from the first characters on


def test_the_latest_few_of_a_place_are_kept(pictures: Pictures, browser: TestClient) -> None:
    addresses = [pictures.put("me", "face", bytes([i]), "image/jpeg") for i in range(6)]
    elsewhere = pictures.put("me", "before", b"other", "image/jpeg")
    assert [browser.get(address).status_code for address in addresses] == [404, 404, 404, 404, 200, 200]
    assert browser.get(addresses[-1]).content == b"\x05"
    assert browser.get(elsewhere).content == b"other"
    assert len(pictures) == 3


def test_an_owner_is_forgotten_and_the_others_are_not(pictures: Pictures, browser: TestClient) -> None:
    mine = [pictures.put("me", place, b"mine", "image/jpeg") for place in ("face", "before")]
    yours = pictures.put("you", "face", b"yours", "image/jpeg")
    pictures.forget("me")
    pictures.forget("nobody")
    assert [browser.get(address).status_code for address in mine] == [404, 404]
    assert browser.get(yours).content == b"yours"
    assert len(pictures) == 1


def test_content_is_made_when_it_is_asked_for(pictures: Pictures, browser: TestClient) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"late"

    address = pictures.put("me", "file", make, "application/octet-stream", "late.bin")
    assert not made
    assert browser.get(address).content == b"late"
    assert len(made) == 1


def test_what_is_shown_is_kept_nowhere(pictures: Pictures, browser: TestClient) -> None:
    answer = browser.get(pictures.put("me", "face", b"jpeg", "image/jpeg"))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("path", ["/pictures/x", "/pictures/", "/pictures/../pictures/x", "/pictures/%00", "/pictures"])
def test_an_unknown_address_is_404(pictures: Pictures, browser: TestClient, path: str) -> None:
    pictures.put("me", "face", b"jpeg", "image/jpeg")
    assert browser.get(path).status_code == 404


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_file_has_its_name_and_no_header_more(name: str) -> None:
    pictures = Pictures()
    browser = TestClient(Starlette(routes=[pictures.route]))
    usual = set(browser.get(pictures.put("me", "file", b"1", "image/png", "plain.png")).headers)
    answer = browser.get(pictures.put("me", "file", b"1", "image/png", name))
    assert set(answer.headers) == usual
    disposition = answer.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert unquote(disposition.partition("''")[2]) == name


@pytest.mark.parametrize("name", ["Ädä 😀.jpg", '"a\r\nX: y".jpg', "a;filename=b.exe"])
def test_hostile_names_are_names(pictures: Pictures, browser: TestClient, name: str) -> None:
    answer = browser.get(pictures.put("me", "file", b"1", "image/png", name))
    assert "x" not in answer.headers
    message = Message()
    message["content-disposition"] = answer.headers["content-disposition"]
    assert message.get_content_disposition() == "attachment"
    assert [key for key, _ in message.get_params(header="content-disposition")] == ["attachment", "filename"]


def test_many_threads_put_at_once(pictures: Pictures, browser: TestClient) -> None:
    def put(number: int) -> tuple[str, bytes]:
        address = ""
        for i in range(50):
            address = pictures.put(f"owner {number % 8}", f"place {number}", f"{number} {i}".encode(), "text/plain")
            if number % 8 == 7 and i % 10 == 0:
                pictures.forget("owner 7")
        return address, f"{number} 49".encode()

    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(put, range(32)))
    for number, (address, content) in enumerate(results):
        if number % 8 != 7:
            assert browser.get(address).content == content
    for owner in range(8):
        pictures.forget(f"owner {owner}")
    assert len(pictures) == 0
