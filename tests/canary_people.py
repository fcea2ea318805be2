"""What people ask of the node that the canary passes: on its pages, and on the command line."""

from builders import write_part10
from canary import KEYWORDS, make_canary, word
from canary_senders import HOSTILE
from result_bench import write
from running import wait_for
from web_visitor import PASSWORD, Visitor


def visit(scene, study, good):
    """Look at the pages: as somebody who sees patients and as somebody who does not, in order and with mistakes."""
    node, people = scene.node.settings, {}

    def enter(name):
        people[name] = Visitor(node.web.port, name, scene.answers)
        return people[name]

    wait_for("the web process answers", lambda: scene.node.settings.node.first_run_file.exists() or _is_open(scene))
    first = enter("root")
    first.begin(node.node.first_run_file.read_text().strip())
    for role in ("viewer", "operator"):
        first.ask("POST", "/users/add", data={"name": role, "password": PASSWORD, "role": role})
        enter(role).sign_in()
    viewer, reader = people["viewer"], people["operator"]
    scene.pages = look_around(scene, study, viewer, sees_patients=False)
    scene.pages_with_patients = look_around(scene, study, reader, sees_patients=True)
    # What was typed is shown to whoever typed it, and is kept nowhere.
    for person in (viewer, reader):
        accession = word(KEYWORDS.index("AccessionNumber"))
        person.ask("POST", "/", sees_patients=True, data={"search": accession})
        person.ask("POST", "/rows", sees_patients=True, data={"search": accession}, headers={"X-Live": "1"})
        person.ask("GET", f"/study/{word(9800)}?said={word(9801)}", sees_patients=True)
    first.ask("POST", "/users/add", sees_patients=True, data={"name": word(9802), "password": "x", "role": "viewer"})
    first.ask("POST", "/account/tokens", sees_patients=True, data={"label": "program"})
    upload(scene, good, reader)
    for action, data in (("retry", {}), ("complete", {}), ("send", {"destination": word(9803)})):
        reader.ask("POST", f"/study/{study}/{action}", data=data)
    # The name of a user may be a password in the wrong field, or a patient's.
    stranger = enter("stranger")
    stranger.ask("GET", "/login")
    for _ in range(7):
        stranger.fail(word(9804), word(9805))
    reader.ask("POST", "/logout")
    for person in people.values():
        person.close()


def _is_open(scene):
    try:
        scene.get("/login")
    except OSError:
        return False
    return scene.node.settings.node.first_run_file.exists()


def look_around(scene, study, person, *, sees_patients):
    """Open worklist, pages, pictures and report; return what the pages showed."""
    store = scene.node.store()
    try:
        entry = store.find_study(study)
        received, results = store.instances_of(study), store.results_of(study, entry.digest)
        others = [one.study_instance_uid for one in store.status(1000)]
        broken = [(uid, one.sop_instance_uid) for uid in others for one in store.instances_of(uid)]
    finally:
        store.close()
    shown = [person.ask("GET", "/", sees_patients=sees_patients).text]
    shown += [person.ask("GET", f"/study/{uid}", sees_patients=sees_patients).text for uid in {study, *others}]
    for uid, instance in broken:  # also those that cannot be decoded
        person.ask("GET", f"/study/{uid}/image/{instance}")
    assert received
    for one in results:
        person.ask("GET", f"/study/{study}/overlay/{one.sop_instance_uid}")
        person.ask("GET", f"/study/{study}/report/{one.sop_instance_uid}", sees_patients=sees_patients)
    for path in (
        "/upload",
        "/users",
        "/account",
        "/statistics",
        "/conformance",
        "/conformance/statement.md",
        "/nothing",
    ):
        person.ask("GET", path)
    shown.append(person.ask("GET", "/rules", sees_patients=sees_patients).text)
    person.ask("GET", "/doctor")
    person.ask("POST", "/doctor")
    return "".join(shown)


def upload(scene, good, reader):
    """Upload what can be read and what cannot; neither answer, log nor temporary file may repeat what is in it."""
    folder = scene.folder / "input"
    image = write_part10(make_canary(good), folder / "uploaded.dcm").read_bytes()
    for content in (image, image[:2000], word(9806).encode() * 50):
        answer = reader.ask("POST", "/upload", files={"file": ("image.dcm", content)})
        assert answer.status_code == 200, answer.text
    reader.ask("POST", "/upload", sees_patients=True, files={"file": (f"{word(9807)}.dcm", image[:2000])})
    token = scene.run("web-token", "add", "operator", "program", "--config", scene.node.config).stdout.decode().strip()
    for content in (image, image[:2000]):
        reader.ask("POST", "/predict", files={"file": ("i.dcm", content)}, headers={"Authorization": f"Bearer {token}"})
    scene.secrets = [PASSWORD.encode(), token.encode()]


def operate(scene, study, images):
    """Do what an operator does, and ask what can be asked."""
    folder, config = scene.folder / "input", ("--config", scene.node.config)
    for number, ds in enumerate(images):
        write_part10(make_canary(ds), folder / f"{number}.dcm")
    (folder / "2.dcm").write_bytes(bytes(128) + b"DICM" + word(9700).encode() * 50)
    (folder / "3.png").write_bytes(word(9701).encode() * 50)
    hostile = make_canary(images[1])
    (folder / "4.dcm").write_bytes(
        (folder / "1.dcm").read_bytes()[: 144 + _meta_length(folder / "1.dcm")] + write(hostile, HOSTILE.items())
    )
    scene.run("analyse", folder, "--json", "--out", scene.folder / "out")
    scene.run("analyse", folder)
    for arguments in (
        ("status",),
        ("status", "--json"),
        ("status", "--state", "all"),
        ("status", "--search", study[-9:], "--json"),
        ("study", study),
        ("study", study, "--json"),
        ("statistics", "--json"),
        ("alerts",),
        ("doctor",),
        ("conformance",),
        ("conformance", "--html"),
        ("retention",),
        ("retry", study),
        ("complete", study),
    ):
        scene.run(*arguments, *config)
    for path in ("/healthz", "/readyz", "/studies", "/studies?limit=x", "/metrics", "/openapi.json", "/nothing"):
        scene.get(path)


def _meta_length(path):
    return int.from_bytes(path.read_bytes()[140:144], "little")
