"""Users, passwords, sessions, roles: what each protection refuses."""

import json
import re

import pytest
from web_bench import PASSWORD, SLOW_HASHER, Web, build_settings, every_address, form_token

from dicom_node.web import passwords
from dicom_node.web.passwords import WeakPasswordError, hash_password, is_right
from dicom_node.web.roles import PERMISSIONS, Permission, Role, may
from dicom_node.web.sign_in import UserNameError, build_user

PUBLIC = {"/login", "/first-run", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static"}
"""What is answered without anybody signed in."""


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def is_signed_in(browser):
    return browser.get("/account").status_code == 200


def test_nobody_sees_a_page_without_signing_in(web):
    web.add_user(Role.ADMINISTRATOR)
    asked = [(path, method) for path, method in every_address(web.app) if path not in PUBLIC]
    assert len(asked) > 8
    for path, method in asked:
        answer = web.browser().request(method, path.replace("{", "").replace("}", ""))
        expected = 401 if path in {"/studies", "/predict"} else 303
        assert answer.status_code == expected, (method, path)
        assert answer.headers.get("location", "/login") == "/login", (method, path)


def test_the_right_password_begins_a_session_and_signing_out_ends_it(web):
    browser = web.sign_in(Role.VIEWER)
    assert is_signed_in(browser)
    cookie = dict(browser.cookies)
    assert browser.post("/logout", data={"form_token": form_token(browser)}).headers["location"] == "/login"
    browser.cookies.update(cookie)  # a copy of the cookie does not help
    assert not is_signed_in(browser)


def test_the_cookie_is_for_this_site_and_out_of_reach_of_scripts(web):
    web.add_user(Role.VIEWER)
    said = web.client.post("/login", data={"name": "viewer", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "secure" not in said  # plain HTTP on this machine


def test_behind_tls_the_cookie_goes_through_tls_only(tmp_path):
    with Web(build_settings(tmp_path, https=True)) as web:
        web.add_user(Role.VIEWER)
        answer = web.client.post("/login", data={"name": "viewer", "password": PASSWORD})
        assert answer.headers["set-cookie"].startswith("__Host-dicom-node=")
        assert "; secure" in answer.headers["set-cookie"].lower()
        assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize("typed", [{"name": "viewer", "password": "wrong"}, {"name": "nobody", "password": PASSWORD}])
def test_a_wrong_name_and_a_wrong_password_are_answered_alike(web, typed):
    web.add_user(Role.VIEWER)
    answer = web.client.post("/login", data=typed)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers


def test_after_five_wrong_passwords_not_even_the_right_one_is_looked_at(web):
    web.add_user(Role.VIEWER)
    for _ in range(5):
        assert web.client.post("/login", data={"name": "viewer", "password": "wrong"}).status_code == 401
    refused = web.client.post("/login", data={"name": "viewer", "password": PASSWORD})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 300


def test_the_limit_of_an_address_holds_for_all_accounts_together(web, monkeypatch):
    monkeypatch.setattr("dicom_node.web.sign_in.is_right", lambda *_: False)
    answers = [
        web.client.post("/login", data={"name": f"u{number}", "password": "wrong"}).status_code for number in range(31)
    ]
    assert answers == [401] * 30 + [429]


@pytest.mark.parametrize("proxies", [(), ("10.0.0.0/8",), ("127.0.0.1",)])
def test_a_proxy_that_is_named_says_whose_machine_it_is_and_others_are_not_believed(tmp_path, monkeypatch, proxies):
    monkeypatch.setattr("dicom_node.web.sign_in.is_right", lambda *_: False)
    with Web(build_settings(tmp_path, proxies=proxies)) as web:

        def knock(number, machine):
            typed, said = {"name": f"u{number}", "password": "wrong"}, {"X-Forwarded-For": f"192.0.2.9, {machine}"}
            return web.client.post("/login", data=typed, headers=said).status_code

        assert [knock(number, "192.0.2.1") for number in range(31)] == [401] * 30 + [429]
        assert knock(31, "192.0.2.2") == (401 if proxies == ("127.0.0.1",) else 429)
        (trail,) = web.settings.node.audit_dir.glob("*.jsonl")
        hosts = {json.loads(line)["host"] for line in trail.read_text().splitlines()}
    assert hosts == ({"192.0.2.1", "192.0.2.2"} if proxies == ("127.0.0.1",) else {"127.0.0.1"})


def test_a_right_password_forgives_the_wrong_ones_before_it(web):
    web.add_user(Role.VIEWER)
    for _ in range(3):
        for _ in range(4):
            web.client.post("/login", data={"name": "viewer", "password": "wrong"})
        assert web.client.post("/login", data={"name": "viewer", "password": PASSWORD}).status_code == 303


def test_a_session_ends_when_it_is_not_used(web):
    browser = web.sign_in(Role.VIEWER)
    web.pass_time(1790)
    assert is_signed_in(browser)
    web.pass_time(1790)
    assert is_signed_in(browser)  # it was used in between
    web.pass_time(1810)
    answer = browser.get("/account")
    assert answer.headers["location"] == "/login?ended=1"
    assert "Your session has ended" in browser.get("/login?ended=1").text


def test_a_session_ends_in_any_case(web):
    browser = web.sign_in(Role.VIEWER)
    for _ in range(25):
        web.pass_time(1795)
        answered = is_signed_in(browser)
    assert not answered
    assert not is_signed_in(browser)


def test_what_a_page_asks_by_itself_keeps_no_session_alive(web):
    browser = web.sign_in(Role.VIEWER)
    web.pass_time(1790)
    assert browser.get("/account", headers={"X-Live": "1"}).status_code == 200
    web.pass_time(20)
    assert browser.get("/account", headers={"X-Live": "1"}).status_code == 401


def test_a_form_of_another_session_is_refused(web):
    browser, other = web.sign_in(Role.OPERATOR), web.sign_in(Role.ADMINISTRATOR)
    for token in ("", "0" * 64, form_token(other)):
        assert browser.post("/logout", data={"form_token": token}).status_code == 403
    assert is_signed_in(browser)


@pytest.mark.parametrize(
    "said",
    [
        {"Origin": "http://elsewhere.invalid"},
        {"Origin": "http://[127.0.0.1:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_form_of_another_site_is_refused_before_it_is_read(web, said):
    browser = web.sign_in(Role.VIEWER)
    token = form_token(browser)
    assert browser.post("/logout", data={"form_token": token}, headers=said).status_code == 403
    assert is_signed_in(browser)


@pytest.mark.parametrize("path", ["/login", "/account", "/static/pages.css", "/nothing"])
def test_every_answer_binds_the_browser(web, path):
    headers = web.sign_in(Role.VIEWER).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_a_form_larger_than_any_is_refused(web):
    answer = web.client.post("/login", data={"name": "n" * 70_000, "password": "p"})
    assert answer.status_code == 413


def test_a_viewer_sees_no_users(web):
    browser = web.sign_in(Role.OPERATOR)
    assert browser.get("/users").status_code == 403
    data = {"form_token": form_token(browser), "name": "mine", "password": PASSWORD, "role": "administrator"}
    assert browser.post("/users/add", data=data).status_code == 403
    assert web.accounts.find_user("mine") is None


def test_an_administrator_adds_and_removes_users_but_not_himself(web):
    browser = web.sign_in(Role.ADMINISTRATOR)
    token = form_token(browser)
    data = {"form_token": token, "name": "anna", "password": PASSWORD, "role": "radiologist"}
    assert browser.post("/users/add", data=data).status_code == 303
    assert "anna" in browser.get("/users").text
    assert browser.post("/users/remove", data={"form_token": token, "name": "administrator"}).status_code == 400
    assert browser.post("/users/remove", data={"form_token": token, "name": "anna"}).status_code == 303
    assert [user.name for user in web.accounts.users()] == ["administrator"]


def test_a_removed_user_is_signed_out_at_once(web):
    browser = web.sign_in(Role.VIEWER)
    web.accounts.remove_user("viewer")
    assert not is_signed_in(browser)


def test_a_new_password_ends_the_sessions_and_tokens_of_the_old_one(web):
    """Whoever knew the old one may have made a token with it."""
    browser = web.sign_in(Role.VIEWER)
    others = {"Authorization": f"Bearer {web.token(Role.OPERATOR)}"}
    page = browser.post("/account/tokens", data={"form_token": form_token(browser), "label": "nightly"}).text
    assert "A new password ends all your sessions, and removes all your tokens." in page
    own = {"Authorization": "Bearer " + re.search(r'class="token">([^<]+)<', page)[1]}
    data = {"form_token": form_token(browser), "password": PASSWORD, "new": "another long secret", "repeated": ""}
    assert browser.post("/account/password", data=data).status_code == 400
    data["repeated"] = data["new"]
    assert browser.post("/account/password", data=data | {"password": "wrong"}).status_code == 400
    assert web.browser().get("/studies", headers=own).status_code == 200
    assert browser.post("/account/password", data=data).status_code == 303
    assert not is_signed_in(browser)
    assert [web.browser().get("/studies", headers=one).status_code for one in (own, others)] == [401, 200]
    assert browser.post("/login", data={"name": "viewer", "password": data["new"]}).status_code == 303


def test_a_token_is_shown_once_and_opens_what_its_user_may(web):
    browser = web.sign_in(Role.VIEWER)
    page = browser.post("/account/tokens", data={"form_token": form_token(browser), "label": "nightly"}).text
    token = re.search(r'class="token">([^<]+)<', page)[1]
    assert token not in browser.get("/account").text
    headers = {"Authorization": f"Bearer {token}"}
    assert web.browser().get("/studies", headers=headers).json() == []
    browser.post("/account/tokens/remove", data={"form_token": form_token(browser), "label": "nightly"})
    assert web.browser().get("/studies", headers=headers).status_code == 401


# First run


def test_the_first_user_is_made_with_the_token_in_the_file(web):
    assert web.client.get("/login").headers["location"] == "/first-run"
    file = web.settings.node.first_run_file
    assert file.stat().st_mode & 0o777 == 0o600
    data = {"token": file.read_text(), "name": "anna", "password": PASSWORD, "repeated": PASSWORD}
    refused = web.client.post("/first-run", data=data | {"token": "guess"})
    assert refused.status_code == 400
    assert web.accounts.users() == []
    assert web.client.post("/first-run", data=data | {"repeated": "other"}).status_code == 400
    assert web.client.post("/first-run", data=data | {"password": "short", "repeated": "short"}).status_code == 400
    assert web.client.post("/first-run", data=data).headers["location"] == "/"
    assert is_signed_in(web.client)
    assert [(user.name, user.role) for user in web.accounts.users()] == [("anna", "administrator")]
    assert not file.exists()


def test_the_token_of_the_first_run_makes_no_second_user(web):
    web.client.get("/login")
    token = web.settings.node.first_run_file.read_text()
    web.add_user(Role.VIEWER)
    data = {"token": token, "name": "mallory", "password": PASSWORD, "repeated": PASSWORD}
    assert web.client.post("/first-run", data=data).status_code == 400
    assert [user.name for user in web.accounts.users()] == ["viewer"]


# What is kept


def test_neither_passwords_nor_tokens_are_kept(web):
    browser = web.sign_in(Role.VIEWER)
    token = web.token(Role.OPERATOR)
    secrets = [PASSWORD, token, *browser.cookies.values()]
    kept = [file.read_bytes() for file in web.settings.node.data_dir.rglob("*") if file.is_file()]
    assert len(kept) > 1
    assert not [one for one in secrets for content in kept if one.encode() in content]


def test_what_was_typed_for_a_name_is_not_in_the_audit_trail(web):
    web.add_user(Role.VIEWER)
    web.client.post("/login", data={"name": "Doe^Jane", "password": "wrong"})
    web.client.post("/login", data={"name": "viewer", "password": "wrong"})
    (trail,) = web.settings.node.audit_dir.iterdir()
    refused = [json.loads(line) for line in trail.read_text().splitlines()]
    assert [(line["action"], line["user"]) for line in refused] == [
        ("sign-in refused", ""),
        ("sign-in refused", "viewer"),
    ]


def test_a_password_is_hashed_slowly_and_with_a_salt_of_its_own(monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", SLOW_HASHER)
    one, other = (hash_password(PASSWORD, user="anna") for _ in range(2))
    assert one != other
    assert one.startswith("$argon2id$v=19$m=65536,t=3,")  # RFC 9106, the second recommended choice
    assert is_right(PASSWORD, one)
    assert not is_right(PASSWORD.upper(), one)
    assert not is_right(PASSWORD, "no hash")


@pytest.mark.parametrize("password", ["elevenchars", "x" * 201, "my name is ANNA"])
def test_a_weak_password_is_refused(password):
    with pytest.raises(WeakPasswordError):
        hash_password(password, user="anna")


@pytest.mark.parametrize("name", ["", "Anna", "a b", "<script>", "a" * 65, ".anna"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UserNameError):
        build_user(name, PASSWORD, Role.VIEWER)


def test_each_role_may_more_than_the_one_before():
    assert [len(PERMISSIONS[role]) for role in Role] == [1, 2, 3, 4]
    assert not may("viewer", Permission.SEE_PATIENTS)
    assert may("radiologist", Permission.SEE_PATIENTS)
    assert not may("radiologist", Permission.OPERATE)
    assert not may("king", Permission.SEE_STUDIES)
