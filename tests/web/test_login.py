"""Accounts in a file, and how often somebody may fail."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import httpx
import pytest
from serving import Work, picture, served, small_page

from codiff.errors import InputError
from codiff.web.accounts import Accounts, PasswordHash, add_account
from codiff.web.attempts import MOST, MOST_OF_ALL, WITHIN, Attempts

# RFC 7914, section 12, the last vector but one: scrypt of "pleaseletmein", "SodiumChloride", N 16384, r 8, p 1
RFC = (
    "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
    "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
)
QUICK = "$scrypt$ln=10,r=1,p=1$c29tZSBzYWx0$HXI0o3FHgqLc/mxIWMd2zw"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


class TestHashes:
    def test_a_published_one_fits(self) -> None:
        known = PasswordHash.read(RFC)
        assert known.fits("pleaseletmein")
        assert not known.fits("pleaseletmeiN")
        assert not known.fits("")
        assert str(known) == RFC

    def test_each_has_a_salt_of_its_own(self) -> None:
        one, two = PasswordHash.of("correct horse"), PasswordHash.of("correct horse")
        assert one.salt != two.salt
        assert one.digest != two.digest
        digest = hashlib.scrypt(b"correct horse", salt=one.salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)
        assert one.digest == digest

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("correct horse", "no scrypt hash"),
            ("$2b$12$abc", "no scrypt hash"),
            (RFC.replace("ln=14", "ln=30"), "outside"),
            (RFC.replace("r=8", "r=99"), "outside"),
            (RFC.replace("ln=14", "ln=1"), "outside"),
            ("$scrypt$ln=14,r=8,p=1$U29k$cCO9", "too short"),
            (RFC + "!", "no scrypt hash"),
            (RFC + "AAA", "no scrypt hash"),
        ],
    )
    def test_others_are_refused(self, text: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            PasswordHash.read(text)


class TestFile:
    def test_who_is_in_it_may_come_in(self, tmp_path: Path) -> None:
        path = write(tmp_path / "users", f"# those of the house\n\nanna:{RFC}\nBob B.: {QUICK}\n")
        accounts = Accounts.read(path)
        assert accounts.admit("anna", "pleaseletmein")
        assert not accounts.admit("anna", "wrong")
        assert not accounts.admit("Anna", "pleaseletmein")
        assert not accounts.admit("nobody", "pleaseletmein")
        assert not accounts.admit("", "")
        assert set(accounts.hashes) == {"anna", "Bob B."}

    def test_names_cannot_be_told_from_the_time_that_it_takes(self, tmp_path: Path) -> None:
        path = tmp_path / "users"
        add_account(path, "anna", "correct horse")
        accounts = Accounts.read(path)

        def seconds(name: str) -> float:
            begun = time.process_time()
            accounts.admit(name, "wrong")
            return time.process_time() - begun

        ratio = min(seconds("nobody") for _ in range(3)) / min(seconds("anna") for _ in range(3))
        assert 0.5 < ratio < 2

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "nobody could log in"),
            ("# anna\n", "nobody could log in"),
            (f"anna:{QUICK}\nanna\n", "line 2: a name, a colon and a hash are expected"),
            (f":{QUICK}\n", "line 1: a name"),
            (f" anna:{QUICK}\n", "line 1: a name"),
            ("anna:secret\n", "line 1: 'anna' has no scrypt hash, and no other is read"),
            (f"anna:{QUICK}\nbob:{QUICK}\nanna:{QUICK}\n", "line 3: 'anna' is there twice"),
        ],
    )
    def test_wrong_lines_are_named_but_never_passwords(self, tmp_path: Path, text: str, reason: str) -> None:
        path = write(tmp_path / "users", text)
        with pytest.raises(InputError, match=re.escape(reason)) as refusal:
            Accounts.read(path)
        assert "secret" not in str(refusal.value)

    @pytest.mark.parametrize("mode", [0o644, 0o602, 0o666, 0o601])
    def test_others_must_not_read_or_change_it(self, tmp_path: Path, mode: int) -> None:
        with pytest.raises(InputError, match="chmod 600"):
            Accounts.read(write(tmp_path / "users", f"anna:{QUICK}", mode))

    def test_it_must_be_there_and_text(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no"):
            Accounts.read(tmp_path / "none")
        with pytest.raises(InputError, match="is not a file"):
            Accounts.read(tmp_path)
        path = tmp_path / "users"
        path.write_bytes(b"\xff\xfe")
        path.chmod(0o600)
        with pytest.raises(InputError, match="not text"):
            Accounts.read(path)

    def test_accounts_are_added_and_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "users"
        assert add_account(path, "anna", "correct horse") is False
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text(f"# of the house\n{path.read_text()}bob:{QUICK}\n")
        assert add_account(path, "anna", "battery staple") is True
        lines = path.read_text().splitlines()
        assert [line.partition(":")[0] for line in lines] == ["# of the house", "bob", "anna"]
        assert path.stat().st_mode & 0o777 == 0o600
        accounts = Accounts.read(path)
        assert accounts.admit("anna", "battery staple")
        assert not accounts.admit("anna", "correct horse")

    @pytest.mark.parametrize(
        ("name", "password", "reason"),
        [
            ("a:b", "correct horse", "no name"),
            ("", "correct horse", "no name"),
            ("#a", "correct horse", "no name"),
            ("a\nb", "correct horse", "no name"),
            (" a", "correct horse", "no name"),
            ("a ", "correct horse", "no name"),
            ("anna", "short", "8 characters"),
        ],
    )
    def test_what_will_not_do_is_not_added(self, tmp_path: Path, name: str, password: str, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            add_account(tmp_path / "users", name, password)
        assert not (tmp_path / "users").exists()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestAttempts:
    def test_few_failures_of_one_client_are_forgiven_with_time(self) -> None:
        clock = Clock()
        attempts = Attempts(clock)
        for second in range(MOST):
            clock.now = 1000.0 + second
            assert attempts.begin("a") == 0
        assert attempts.begin("a") == WITHIN - (MOST - 1)
        assert attempts.begin("b") == 0
        clock.now = 1000 + WITHIN
        assert attempts.begin("a") == 0
        assert attempts.begin("a") == 1.0

    def test_success_clears_a_client(self) -> None:
        attempts = Attempts(Clock())
        for _ in range(MOST):
            assert attempts.begin("a") == 0
        attempts.succeeded("a")
        assert attempts.begin("a") == 0

    def test_many_clients_together_have_a_limit_too(self) -> None:
        clock = Clock()
        attempts = Attempts(clock)
        for client in range(MOST_OF_ALL):
            assert attempts.begin(str(client)) == 0
        assert attempts.begin("another") == WITHIN
        attempts.succeeded("0")
        assert attempts.begin("another") == 0
        clock.now += WITHIN
        assert attempts.begin("yet another") == 0
        assert set(attempts._failures) == {"yet another"}


class TestSharedBrowser:
    def test_who_logs_in_finds_nothing_of_who_was_there(self) -> None:
        accounts = Accounts({"anna": PasswordHash.of("correct horse"), "bob": PasswordHash.of("battery staple")})
        with (
            served(small_page(Work()), accounts=accounts) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=60, follow_redirects=True) as browser,
        ):
            assert login(browser, "anna", "correct horse").status_code == 200
            first = browser.cookies["codiff-visitor"]
            path = browser.post("/gradio_api/upload", files={"files": ("a.png", picture())}).json()[0]
            assert browser.get(f"/gradio_api/file={path}").status_code == 200
            assert login(browser, "bob", "wrong").status_code == 400
            assert browser.get("/").status_code == 200
            assert browser.cookies["codiff-visitor"] == first
            browser.get("/logout")
            assert browser.get(f"/gradio_api/file={path}").status_code == 401
            assert login(browser, "bob", "battery staple").status_code == 200
            assert browser.cookies["codiff-visitor"] != first
            assert browser.get(f"/gradio_api/file={path}").status_code == 403

    def test_without_accounts_nobody_becomes_another(self) -> None:
        with (
            served(small_page(Work())) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=60) as browser,
        ):
            browser.get("/")
            first = browser.cookies["codiff-visitor"]
            assert login(browser, "anna", "correct horse").status_code == 302
            assert browser.cookies["codiff-visitor"] == first


def login(browser: httpx.Client, name: str, password: str) -> httpx.Response:
    return browser.post("/login", data={"username": name, "password": password})
